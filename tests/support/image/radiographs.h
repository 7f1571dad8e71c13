// Small files for tests of the commands on radiographs: images, a tiny encoder, heads. For tests that are built beside
// the program.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/pictures/png.h"
#include "tests/support/golden.h"
#include "tests/support/image/tiny_vit.h"

namespace sat::test {

inline void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

/// A grey image with a slope and two bright spots whose place depends on `seed`.
inline void write_radiograph(const std::string& path, int64_t height, int64_t width, int64_t seed) {
  Tensor pixels({height, width, 1}, DType::u8);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const bool spot = (x + 7 * seed) % 31 < 8 && (y + 5 * seed) % 29 < 9;
      pixels.data<uint8_t>()[y * width + x] = uint8_t(spot ? 220 : (2 * x + 3 * y + 11 * seed) % 160);
    }
  }
  write_png(path, pixels);
}

/// A folder with a tiny RAD-DINO model, its config, and three images.
struct Radiographs {
  TempDir folder;
  std::string model = folder / "model.safetensors", images = folder / "images";

  explicit Radiographs(const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(model, tiny_vit(), metadata);
    write_text(folder / "config.json", R"({"num_attention_heads": 3})");
    std::filesystem::create_directory(images);
    write_radiograph(images + "/a.png", 80, 64, 1);
    write_radiograph(images + "/b.png", 60, 90, 2);
    write_radiograph(images + "/c.png", 56, 56, 3);
  }
};

}  // namespace sat::test
