// Each published preparation, and the way back from a model's pixels to the image's own.
#include "sat/io/images/prepare.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

Image8 noise(int64_t height, int64_t width, int64_t channels) {
  Image8 image({height, width}, channels);
  const std::vector<double> values = unit("noise", image.pixels.numel());
  for (size_t i = 0; i < values.size(); ++i) image.pixels.data<uint8_t>()[i] = uint8_t(256 * values[i]);
  return image;
}

/// 1 where the model saw the image's pixel.
int64_t seen_count(const Tensor& mask) {
  int64_t count = 0;
  for (int64_t i = 0; i < mask.numel(); ++i) count += mask.data<uint8_t>()[i] != kUnseen;
  return count;
}

TEST_CASE("ECAMP's classification takes luma after Pillow's bilinear resize, and rounds the crop to even") {
  const Image8 image = noise(300, 227, 3);  // 224 x 227 -> 296 x 224: 72 rows over
  const PreparedImage prepared = prepare_image(image, ecamp_classification_input());
  CHECK(prepared.input.shape == Shape{1, 224, 224, 3});
  CHECK(prepared.placement.resized == ImageSize{296, 224});
  CHECK(prepared.placement.seen.top == 36);
  const Image8 expected =
      to_grey(crop(resize_antialiased(image, {296, 224}, ResizeFilter::bilinear), {36, 0, 224, 224}));
  CHECK(mismatch(prepared.pixels.pixels, expected.pixels, {}) == "");
  const float value = (float(expected.pixels.data<uint8_t>()[5]) / 255.0f - 0.4722f) / 0.3028f;
  for (int64_t c = 0; c < 3; ++c) CHECK(prepared.input.data<float>()[15 + c] == value);
}

TEST_CASE("crops of an odd rest differ between the processors") {
  const auto top = [](const ImagePreparation& steps, int64_t rows_over) {
    ImagePreparation small = steps;
    small.shortest = small.size = 8;
    return prepare_image(noise(8 + rows_over, 8, 1), small).placement.seen.top;
  };
  const ImagePreparation down = rad_dino_input(), even = ecamp_classification_input();
  for (int64_t over : {0, 1, 2, 3, 4, 5, 6, 7}) CHECK(top(down, over) == over / 2);
  CHECK(top(even, 1) == 0);  // 0.5
  CHECK(top(even, 3) == 2);  // 1.5
  CHECK(top(even, 5) == 2);  // 2.5
  CHECK(top(even, 7) == 4);  // 3.5
}

TEST_CASE("ECAMP's segmentation and detection squeeze the whole image, and keep its colours") {
  const Image8 image = noise(90, 400, 3);
  for (const ImagePreparation& steps : {ecamp_segmentation_input(), ecamp_detection_input()}) {
    const PreparedImage prepared = prepare_image(image, steps);
    CHECK(prepared.input.shape == Shape{1, 224, 224, 3});
    CHECK(mismatch(prepared.pixels.pixels, resize_linear(image, {224, 224}).pixels, {}) == "");
    const PixelBox seen = seen_pixels(prepared.placement);
    CHECK(seen.height == 90);
    CHECK(seen.width == 400);
  }
}

TEST_CASE("ECAMP's pre-training input has 448 pixels a side and its own mean and deviation") {
  const PreparedImage prepared = prepare_image(noise(448, 448, 1), ecamp_pretraining_input());
  CHECK(prepared.input.shape == Shape{1, 448, 448, 3});
  const float value = (float(prepared.pixels.pixels.data<uint8_t>()[0]) / 255.0f - 0.4721f) / 0.3037f;
  CHECK(prepared.input.data<float>()[0] == value);
}

TEST_CASE("images of one and of three rows, and of one pixel, are no special case") {
  for (const ImageSize size : {ImageSize{1, 1}, ImageSize{1, 900}, ImageSize{3, 900}, ImageSize{900, 3}}) {
    for (const int64_t channels : {1, 3}) {
      const PreparedImage prepared = prepare_image(noise(size.height, size.width, channels), rad_dino_input());
      CHECK(prepared.input.shape == Shape{1, 518, 518, 3});
      CHECK(prepared.pixels.channels() == channels);
    }
  }
}

TEST_CASE("steps that make no sense are refused") {
  const Image8 image = noise(9, 9, 1);
  const auto refused = [&](auto change) {
    ImagePreparation steps = rad_dino_input();
    change(steps);
    CHECK_THROWS_AS(prepare_image(image, steps), Error);
  };
  refused([](ImagePreparation& s) { s.size = 0; });
  refused([](ImagePreparation& s) { s.size = 519; });
  refused([](ImagePreparation& s) { s.shortest = 100000; });
  refused([](ImagePreparation& s) { s.deviation = 0; });
  refused([](ImagePreparation& s) { s.deviation = std::nan(""); });
  refused([](ImagePreparation& s) { s.mean = INFINITY; });
}

TEST_CASE("what the crop cut off is marked as not seen, to the pixel") {
  const PreparedImage prepared = prepare_image(noise(100, 60, 1), rad_dino_input(30));  // resized 50 x 30, top 10
  const ImagePlacement& placement = prepared.placement;
  CHECK(placement.seen.top == 10);
  const PixelBox seen = seen_pixels(placement);
  CHECK(seen.top == 20);
  CHECK(seen.height == 60);
  CHECK(seen.left == 0);
  CHECK(seen.width == 60);
  Tensor mask = zeros({30, 30}, DType::u8);
  mask.data<uint8_t>()[0] = 1;
  const Tensor back = mask_on_image(mask, placement);
  CHECK(back.shape == Shape{100, 60});
  CHECK(seen_count(back) == 60 * 60);
  const uint8_t* values = back.data<uint8_t>();
  CHECK(values[19 * 60] == kUnseen);
  CHECK(values[80 * 60] == kUnseen);
  CHECK(values[20 * 60] == 1);
  CHECK(values[21 * 60 + 1] == 1);
  CHECK(values[22 * 60] == 0);
  CHECK(values[20 * 60 + 2] == 0);
}

TEST_CASE("at equal scale a map comes back unchanged") {
  ImagePreparation steps = rad_dino_input(20);
  const ImagePlacement placement = prepare_image(noise(20, 26, 1), steps).placement;
  CHECK(placement.seen.left == 3);
  const Tensor scores = field("scores", {20, 20}, 1);
  const Tensor back = scores_on_image(scores, placement, -9);
  for (int64_t y = 0; y < 20; ++y) {
    for (int64_t x = 0; x < 26; ++x) {
      const float want = x >= 3 && x < 23 ? scores.data<float>()[y * 20 + x - 3] : -9;
      CHECK(back.data<float>()[y * 26 + x] == want);
    }
  }
}

TEST_CASE("a ramp over patches comes back as a ramp, flat beyond the outermost centres") {
  const ImagePlacement placement = prepare_image(noise(80, 80, 1), rad_dino_input(40)).placement;
  Tensor ramp({4, 4, 2});  // cells of 20 image pixels
  for (int64_t i = 0; i < 16; ++i) {
    ramp.data<float>()[2 * i] = float(i % 4);
    ramp.data<float>()[2 * i + 1] = float(i / 4);
  }
  const Tensor back = scores_on_image(ramp, placement);
  CHECK(back.shape == Shape{80, 80, 2});
  for (const int64_t at : {0, 9, 10, 15, 40, 69, 75}) {
    const double want = std::clamp((double(at) + 0.5) / 20 - 0.5, 0.0, 3.0);
    CHECK(double(back.data<float>()[2 * (40 * 80 + at)]) == doctest::Approx(want));
    CHECK(double(back.data<float>()[2 * (at * 80 + 40) + 1]) == doctest::Approx(want));
  }
}

TEST_CASE("boxes come back scaled, moved and cut at the border") {
  const ImagePlacement squeezed = prepare_image(noise(112, 448, 1), ecamp_detection_input()).placement;
  const std::array<double, 4> box = box_on_image({10, 20, 300, 200}, squeezed);
  CHECK(box == std::array<double, 4>{20, 10, 448, 100});
  const ImagePlacement cropped = prepare_image(noise(100, 60, 1), rad_dino_input(30)).placement;
  CHECK(box_on_image({0, 0, 30, 30}, cropped) == std::array<double, 4>{0, 20, 60, 80});
}

TEST_CASE("a pixel whose centre the crop's edge passes belongs to the side that its centre is on") {
  const ImagePlacement placement{{3, 3}, {30, 30}, {15, 14, 1, 1}};  // one model pixel at the centre of the middle one
  const PixelBox seen = seen_pixels(placement);
  CHECK(seen.top == 1);
  CHECK(seen.height == 1);
  CHECK(seen.width == 0);  // columns [14, 15) end where the centre is
  CHECK(seen_count(mask_on_image(zeros({1, 1}, DType::u8), placement)) == 0);
}

TEST_CASE("maps and placements that do not fit are refused") {
  const ImagePlacement placement = prepare_image(noise(9, 9, 1), rad_dino_input(30)).placement;
  CHECK_THROWS_AS(scores_on_image(zeros({3, 3}, DType::u8), placement), Error);
  CHECK_THROWS_AS(scores_on_image(field("x", {9}, 1), placement), Error);
  CHECK_THROWS_AS(mask_on_image(field("x", {3, 3}, 1), placement), Error);
  CHECK_THROWS_AS(seen_pixels({{9, 9}, {30, 30}, {0, 0, 31, 30}}), Error);
  CHECK_THROWS_AS(seen_pixels({{9, 9}, {30, 30}, {0, 0, 0, 30}}), Error);
}

}  // namespace
}  // namespace sat
