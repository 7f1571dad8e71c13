// Masks to the model's space against the definition: the nearest voxel for every voxel there.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/io/masks/resample_masks.h"
#include "sat/tensor/error.h"
#include "tests/support/golden.h"

using namespace sat;

namespace {

Affine turned(double angle, const std::array<double, 3>& spacing, double shear) {
  const double c = std::cos(angle), s = std::sin(angle);
  Affine affine;
  affine.m[0] = {c * spacing[0], -s * spacing[1], 0, -20};
  affine.m[1] = {s * spacing[0], c * spacing[1] + shear, 0.1 * shear, 7};
  affine.m[2] = {0, shear, spacing[2], 3};
  return affine;
}

/// Three masks: noise in a corner, noise inside, and one voxel at the end.
BitMasks some_masks(const std::array<int64_t, 3>& size) {
  BitMasks masks(size, 3);
  const std::vector<double> values = test::unit("masks", size[0] * size[1] * size[2]);
  size_t at = 0;
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d, ++at) {
        if (h < 3 && w > 4 && values[at] < 0.5) masks.set(0, h, w, d);
        if (h > 4 && h < 8 && w > 3 && w < 7 && d > 1 && d < 6 && values[at] < 0.7) masks.set(1, h, w, d);
      }
    }
  }
  masks.set(2, size[0] - 1, size[1] - 1, size[2] - 1);
  return masks;
}

void check_against_definition(const Geometry& scan, const PreprocessOptions& options) {
  const BitMasks masks = some_masks(scan.size), got = resample_masks(masks, scan, options);
  const AxisOrder order = axis_order(scan.voxel_to_world_mm, options.orientation);
  const Geometry oriented = reorient(scan, order);
  const SpacedGrid grid = space_grid(oriented, options.spacing_mm);
  REQUIRE(got.size == grid.geometry.size);
  int64_t wrong = 0;
  for (int64_t h = 0; h < got.size[0]; ++h) {
    for (int64_t w = 0; w < got.size[1]; ++w) {
      for (int64_t d = 0; d < got.size[2]; ++d) {
        std::array<int64_t, 3> source;
        for (size_t axis = 0; axis < 3; ++axis) {
          const auto& row = grid.to_source.m[axis];
          const double position = row[0] * double(h) + row[1] * double(w) + row[2] * double(d) + row[3];
          const auto nearest = int64_t(std::nearbyint(std::clamp(position, 0.0, double(oriented.size[axis] - 1))));
          source[size_t(order.from[axis])] = order.reversed[axis] ? oriented.size[axis] - 1 - nearest : nearest;
        }
        for (int64_t prompt = 0; prompt < 3; ++prompt) {
          wrong += masks.get(prompt, source[0], source[1], source[2]) != got.get(prompt, h, w, d);
        }
      }
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("resampled masks take the nearest voxel, on turned, sheared and mirrored grids alike") {
  for (const double angle : {0.0, 0.3, 1.7, 3.0}) {
    for (const double shear : {0.0, 0.4}) {
      for (const char* code : {"RAS", "ASR"}) {
        CAPTURE(angle);
        PreprocessOptions options;
        options.orientation = code;
        check_against_definition({{11, 12, 9}, turned(angle, {1.5, 0.8, 2.5}, shear)}, options);
        check_against_definition({{11, 12, 9}, turned(angle, {2, 2, 2}, shear)}, options);
      }
    }
  }
}

TEST_CASE("a mask whose scan needs no resampling is only turned, and cropped where asked") {
  const Geometry scan{{9, 10, 8}, turned(0, {-1, 1, 3}, 0)};
  const BitMasks masks = some_masks(scan.size), all = resample_masks(masks, scan, {}),
                 some = resample_masks(masks, scan, {}, {{{2, 7}, {3, 10}, {1, 6}}});
  CHECK(all.size == scan.size);
  CHECK(all.count(0) == masks.count(0));
  CHECK(all.get(2, 0, 9, 7));
  for (int64_t h = 0; h < 5; ++h) {
    for (int64_t w = 0; w < 7; ++w) {
      for (int64_t d = 0; d < 5; ++d) CHECK(some.get(1, h, w, d) == all.get(1, h + 2, w + 3, d + 1));
    }
  }
}

TEST_CASE("resampled masks are the masks of resampled label maps") {
  const Geometry scan{{11, 12, 9}, turned(0.2, {1.5, 0.8, 2}, 0.1)};
  const BitMasks masks = some_masks(scan.size), got = resample_masks(masks, scan, {});
  Tensor labels({11, 12, 9});
  const Tensor bits = masks.unpack(0);
  for (int64_t v = 0; v < labels.numel(); ++v) labels.data<float>()[v] = float(bits.data<uint8_t>()[v]);
  const AxisOrder order = axis_order(scan.voxel_to_world_mm, "RAS");
  const SpacedGrid grid = space_grid(reorient(scan, order), {1, 1, 3});
  const auto& size = got.size;
  const Tensor want = resample_nearest(labels, order, grid, {{{0, size[0]}, {0, size[1]}, {0, size[2]}}});
  const Tensor unpacked = got.unpack(0);
  int64_t wrong = 0;
  for (int64_t v = 0; v < want.numel(); ++v) wrong += want.data<float>()[v] != float(unpacked.data<uint8_t>()[v]);
  CHECK(wrong == 0);
  CHECK(got.count(0) > 0);
}

TEST_CASE("masks of another grid and crops beyond the grid are refused") {
  const Geometry scan{{9, 10, 8}, turned(0, {1, 1, 3}, 0)};
  CHECK_THROWS_AS(resample_masks(some_masks({9, 10, 7}), scan, {}), Error);
  CHECK_THROWS_AS(resample_masks(some_masks({9, 10, 8}), scan, {}, {{{2, 10}, {3, 10}, {1, 6}}}), Error);
}
