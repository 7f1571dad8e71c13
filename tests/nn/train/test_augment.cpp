// Augmentation: recorded values of the published transforms, and what holds whatever the draws are.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "sat/nn/train/data/augment.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"
#include "tests/support/parity/training/augment_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor some_masks(const Shape& shape) {
  Tensor masks(shape, DType::u8);
  const std::vector<double> numbers = unit("masks", masks.numel());
  for (int64_t v = 0; v < masks.numel(); ++v) masks.data<uint8_t>()[v] = uint8_t(numbers[size_t(v)] * 256);
  return masks;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

/// A crop on which every transform is tried by some step, augmented by `threads` threads.
std::pair<Tensor, Tensor> augmented(int threads, uint64_t step, uint32_t item = 0) {
  ContextOptions options;
  options.threads = threads;
  Context context(options);
  UseContext use(context);
  Tensor image = field("crop", {40, 33, 21}, 1.5), masks = some_masks({40, 33, 21, 2});
  AugmentationSettings settings;
  settings.zoom_prob = settings.noise_prob = settings.sharpen_prob = settings.scale_prob = 0.5;
  augment(image, masks, settings, 11, step, item);
  return {image, masks};
}

}  // namespace

TEST_CASE("augmentation agrees with the recorded transforms") {
  for (const ParityLine& line : compare_augmentation(golden_path("sat/augment"))) {
    CAPTURE(line.quantity);
    CHECK(line.error <= line.limit);
  }
}

TEST_CASE("augmentation gives the same bits for any number of threads, and others for another step or place") {
  for (uint64_t step = 0; step < 6; ++step) {
    const auto one = augmented(1, step), four = augmented(4, step);
    CHECK(same_bytes(one.first, four.first));
    CHECK(same_bytes(one.second, four.second));
  }
  CHECK_FALSE(same_bytes(augmented(1, 1).first, augmented(1, 2).first));
  CHECK_FALSE(same_bytes(augmented(1, 1).first, augmented(1, 1, 1).first));
}

TEST_CASE("without probabilities a crop stays as it is") {
  Tensor image = field("crop", {5, 4, 3}, 1), masks = some_masks({5, 4, 3, 1});
  const Tensor image_before = image.clone(), masks_before = masks.clone();
  augment(image, masks, no_augmentation(), 1, 2, 3);
  CHECK(same_bytes(image, image_before));
  CHECK(same_bytes(masks, masks_before));
}

TEST_CASE("a zoomed mask lies where the zoomed image has it") {
  // A bright box and its mask: after any zoom the mask's voxels are those that are mostly bright.
  Tensor image = full({24, 20, 16}, 0.0f), masks = zeros({24, 20, 16, 1}, DType::u8);
  for (int64_t h = 8; h < 17; ++h) {
    for (int64_t w = 4; w < 12; ++w) {
      for (int64_t d = 6; d < 13; ++d) {
        image.data<float>()[(h * 20 + w) * 16 + d] = 1;
        masks.data<uint8_t>()[(h * 20 + w) * 16 + d] = 4;
      }
    }
  }
  for (double factor : {0.7, 0.84, 0.95, 1.1, 1.4}) {
    const Tensor zoomed = zoom_image(image, factor), moved = zoom_masks(masks, factor);
    int64_t set = 0, dark = 0, missed = 0;
    for (int64_t v = 0; v < zoomed.numel(); ++v) {
      const bool in = moved.data<uint8_t>()[v] == 4;
      set += in;
      dark += in && zoomed.data<float>()[v] <= 0;
      missed += !in && zoomed.data<float>()[v] >= 0.999f;
    }
    CAPTURE(factor);
    CHECK(dark == 0);
    CHECK(missed == 0);
    CHECK(double(set) == doctest::Approx(9 * 8 * 7 * factor * factor * factor).epsilon(0.35));
  }
}

TEST_CASE("the noise of a voxel is its own, and the field has the moments of the normal distribution") {
  const KeyedRandom random(3, 4, 5, Purpose::noise_field);
  const Tensor field = normal_field({50, 41, 37}, random), longer = normal_field({75850 * 2}, random);
  double sum = 0, squares = 0, fourth = 0;
  for (int64_t v = 0; v < field.numel(); ++v) {
    const auto z = double(field.data<float>()[v]);
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  const auto count = double(field.numel());
  CHECK(std::fabs(sum / count) < 0.02);
  CHECK(std::fabs(squares / count - 1) < 0.02);
  CHECK(std::fabs(fourth / count - 3) < 0.15);
  CHECK(std::memcmp(field.raw(), longer.raw(), size_t(field.bytes())) == 0);
}

TEST_CASE("what augmentation cannot take is refused with its shape") {
  CHECK_THROWS_WITH_AS(zoom_image(field("x", {2, 2}, 1), 1.1), doctest::Contains("[2, 2]"), Error);
  CHECK_THROWS_WITH_AS(zoom_image(field("x", {1, 9, 9}, 1), 0.9), doctest::Contains("1 voxels has none left"), Error);
  CHECK_THROWS_AS(add_noise(field("x", {2, 2, 2}, 1), field("x", {2, 2, 3}, 1), 1), Error);
  CHECK_THROWS_AS(zoom_masks(field("x", {2, 2, 2, 1}, 1), 1), Error);
}
