// Fuzzes the readers of radiographs, and what prepares a read one, by every window rule.
#include "examples/sat/images/load_image.h"
#include "sat/io/images/prepare.h"
#include "tests/fuzz/fuzz.h"

using namespace sat;
using namespace sat::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string path = input_file("image", bytes, count);
  cli::ImageOptions options;
  options.max_pixels = int64_t(1) << 20;
  options.exif = count % 2 == 0;
  const cli::WindowRule rules[] = {cli::WindowRule::range, cli::WindowRule::given, cli::WindowRule::dicom,
                                   cli::WindowRule::saturate};
  options.window = rules[count % 4];
  return try_input([&] {
    const cli::LoadedImage loaded = cli::load_image(path, options);
    must(loaded.image.size() == loaded.facts.size);
    must(loaded.image.height() * loaded.image.width() <= options.max_pixels);
    must_do([&] {
      const PreparedImage prepared = prepare_image(loaded.image, rad_dino_input(28));
      must(prepared.input.shape == Shape{1, 28, 28, 3});
      must(seen_pixels(prepared.placement).height >= 1 && seen_pixels(prepared.placement).width >= 1);
    });
  });
}
