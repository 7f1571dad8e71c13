// 8-bit images: luma, crops, limits, and windows that make 8 bits of deeper values.
#include "sat/io/images/image.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tests/support/golden.h"

namespace sat {
namespace {

Image8 image_of(ImageSize size, int64_t channels, const std::vector<int>& values) {
  Image8 image(size, channels);
  for (size_t i = 0; i < values.size(); ++i) image.pixels.data<uint8_t>()[i] = uint8_t(values[i]);
  return image;
}

std::vector<int> values_of(const Image8& image) {
  const uint8_t* pixels = image.pixels.data<uint8_t>();
  return {pixels, pixels + image.pixels.numel()};
}

TEST_CASE("luma is ITU-R 601 in whole numbers, and grey stays grey") {
  const Image8 colours = image_of({1, 5}, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 255, 255, 255});
  CHECK(values_of(to_grey(colours)) == std::vector<int>{76, 150, 29, 18, 255});
  const Image8 grey = image_of({1, 3}, 1, {0, 100, 255});
  CHECK(values_of(to_grey(to_rgb(grey))) == values_of(grey));
  CHECK(values_of(to_rgb(grey)) == std::vector<int>{0, 0, 0, 100, 100, 100, 255, 255, 255});
}

TEST_CASE("a crop has the pixels of its box, and one that leaves the image is refused") {
  const Image8 image = image_of({3, 4}, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(values_of(crop(image, {1, 2, 2, 2})) == std::vector<int>{6, 7, 10, 11});
  for (const PixelBox box : {PixelBox{-1, 0, 2, 2}, PixelBox{0, 3, 1, 2}, PixelBox{2, 0, 2, 1}, PixelBox{0, 0, 0, 1}}) {
    CHECK_THROWS_AS(crop(image, box), Error);
  }
}

TEST_CASE("a window rounds to the nearest value and clips at both ends") {
  const Tensor values = from_values({1, 7}, {-10, 0, 1, 50, 99.9f, 100, 1000});
  CHECK(values_of(apply_window(values, {0, 100})) == std::vector<int>{0, 0, 3, 128, 255, 255, 255});
  CHECK(values_of(apply_window(values, {50, 50})) == std::vector<int>{0, 0, 0, 0, 255, 255, 255});
  CHECK(values_of(apply_window(values, {0, 255})) == std::vector<int>{0, 0, 1, 50, 100, 100, 255});
  CHECK(values_of(inverted(apply_window(values, {0, 100}))) == std::vector<int>{255, 255, 252, 127, 0, 0, 0});
}

TEST_CASE("the range of an image is its least and greatest value, over all pieces") {
  Tensor values = full({300, 400}, 7);
  values.data<float>()[119999] = -3;
  values.data<float>()[70000] = 4000;
  const IntensityWindow range = range_of(values, "x");
  CHECK(range.low == -3);
  CHECK(range.high == 4000);
  values.data<float>()[80000] = NAN;
  CHECK_THROWS_WITH_AS(range_of(values, "x.png"), "x.png: some values are not finite numbers", Error);
}

TEST_CASE("windows without two finite ends in order are refused") {
  const double nan = std::nan(""), inf = INFINITY;
  for (const IntensityWindow window :
       {IntensityWindow{nan, 1}, IntensityWindow{0, nan}, IntensityWindow{-inf, 0}, IntensityWindow{2, 1}}) {
    CHECK_THROWS_AS(check_window(window, "x"), Error);
    CHECK_THROWS_AS(apply_window(full({2, 2}, 0), window), Error);
  }
}

TEST_CASE("images that are too large, or of two channels, are refused before they are allocated") {
  CHECK_THROWS_AS(Image8({0, 5}, 1), Error);
  CHECK_THROWS_AS(Image8({5, 65536}, 1), Error);
  CHECK_THROWS_AS(Image8({65535, 65535}, 1), Error);
  CHECK_THROWS_AS(Image8({5, 5}, 2), Error);
  CHECK_THROWS_AS(Image8(Tensor({5, 5, 1})), Error);
  CHECK_THROWS_AS(Image8(Tensor({5, 5}, DType::u8)), Error);
  CHECK_THROWS_WITH_AS(check_image_size({40, 50}, "x.png", 1999),
                       "x.png: the image is 40 x 50 pixels, 2000 in all; at most 1999 are read", Error);
}

}  // namespace
}  // namespace sat
