// PNG pictures decode to the pixels they were made of, by a decoder of the tests' own.
#include "sat/io/pictures/png.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "sat/io/files/file.h"
#include "tests/support/decode_png.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

Tensor picture(int64_t rows, int64_t columns, int64_t channels, bool noisy) {
  Tensor pixels({rows, columns, channels}, DType::u8);
  const Tensor noise = field("pixels", pixels.shape, 127, 128);
  for (int64_t i = 0; i < pixels.numel(); ++i) {
    pixels.data<uint8_t>()[i] = uint8_t(noisy ? int64_t(noise.data<float>()[i]) : i / columns + 2 * (i % columns));
  }
  return pixels;
}

TEST_CASE("gray and colour pictures decode to their pixels at every awkward size") {
  const TempDir folder;
  for (int64_t channels : {1, 3}) {
    for (const bool noisy : {false, true}) {
      for (const auto& sizes : {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {5, 1}, {33, 47}, {200, 300}}) {
        const int64_t rows = sizes.first, columns = sizes.second;
        CAPTURE(channels);
        CAPTURE(rows);
        const Tensor pixels = picture(rows, columns, channels, noisy);
        write_png(folder / "picture.png", pixels);
        CHECK(mismatch(decode_png(read_text(folder / "picture.png")), pixels, {}) == "");
      }
    }
  }
}

TEST_CASE("filters make a smooth picture at least ten times smaller than its pixels") {
  const TempDir folder;
  write_png(folder / "smooth.png", picture(200, 300, 3, false));
  CHECK(std::filesystem::file_size(folder / "smooth.png") * 10 < 200 * 300 * 3);
}

TEST_CASE("a tensor that is not a picture is refused and leaves no file") {
  const TempDir folder;
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({4, 4}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({4, 4, 2}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({0, 4, 3}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({70000, 1, 1}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({4, 4, 3}, DType::f32)), Error);
  CHECK(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace sat
