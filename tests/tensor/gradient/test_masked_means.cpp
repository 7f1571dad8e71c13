// Means of features over masks: against the definition in double, with and without a pending norm; their gradient
// against central differences; the same bits for any threads.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Case {
  int64_t batch, h, w, d, channels, masks;
};
const Case kCases[] = {{1, 1, 1, 1, 1, 1}, {2, 5, 3, 7, 17, 3}, {1, 24, 20, 19, 6, 9}, {3, 2, 2, 2, 65, 16}};

Shape grid_of(const Case& c) { return {c.batch, c.h, c.w, c.d, c.channels}; }

/// Overlapping masks; the last one of the first sample is empty, and bits beyond the masks are set.
Tensor masks_of(const Case& c) {
  const int64_t bytes = (c.masks + 7) / 8, voxels = c.h * c.w * c.d;
  Tensor masks = zeros(grid_of(c).with(4, bytes), DType::u8);
  const std::vector<double> draws = unit("masks", c.batch * voxels * bytes * 8);
  for (int64_t i = 0; i < c.batch * voxels; ++i) {
    for (int64_t n = 0; n < bytes * 8; ++n) {
      const bool empty = i < voxels && n == c.masks - 1 && c.masks > 1;
      if (empty || draws[size_t(i * bytes * 8 + n)] > 0.3) continue;
      uint8_t& byte = masks.data<uint8_t>()[i * bytes + n / 8];
      byte = uint8_t(byte | 1 << n % 8);
    }
  }
  return masks;
}

bool is_set(const Tensor& masks, int64_t voxel, int64_t n) {
  return (masks.data<uint8_t>()[voxel * masks.shape[4] + n / 8] >> (n % 8) & 1) != 0;
}

Features features_of(const Case& c, bool pending, DType held = DType::f32) {
  Features x{field("x", grid_of(c), 1).cast(held)};
  if (!pending) return x;
  x.center = field("center", {c.batch, c.channels}, 0.3);
  x.factor = field("factor", {c.batch, c.channels}, 0.5, 1);
  x.shift = field("shift", {c.batch, c.channels}, 0.3);
  x.slope = 0.01f;
  return x;
}

Tensor defined(const Case& c, const Tensor& x, const Tensor& masks) {
  Tensor y({c.batch, c.masks, c.channels});
  const int64_t voxels = c.h * c.w * c.d;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t n = 0; n < c.masks; ++n) {
      for (int64_t k = 0; k < c.channels; ++k) {
        double sum = 0, count = 1e-14;
        for (int64_t v = b * voxels; v < (b + 1) * voxels; ++v) {
          if (!is_set(masks, v, n)) continue;
          sum += double(x.data<float>()[v * c.channels + k]);
          count += 1;
        }
        y.data<float>()[(b * c.masks + n) * c.channels + k] = float(sum / count);
      }
    }
  }
  return y;
}

/// The gradient of sum dy * masked_means(x), added to what is there.
Tensor gradient_of(const Case& c, const Tensor& dy, const Tensor& before) {
  Tape tape;
  Tensor x = field("x", grid_of(c), 1);
  Tape::watch(x);
  {
    const RecordOn record(&tape);
    const Tensor y = masked_means({x}, masks_of(c), c.masks);
    tape.add(y, dy);
  }
  if (!before.empty()) tape.add(x, before.clone());
  tape.run();
  return tape.gradient(x);
}

}  // namespace

TEST_CASE("means over masks are what the definition says, on every level") {
  for (const Case& c : kCases) {
    const Tensor masks = masks_of(c);
    for (const bool pending : {false, true}) {
      for (const DType held : {DType::f32, DType::f16}) {
        CAPTURE(c.channels);
        CAPTURE(pending);
        const Features x = features_of(c, pending, held);
        const Tensor want = defined(c, materialize(x), masks);
        for (const CpuLevel level : levels()) {
          const Tensor got = computed(level, 2, [&] { return masked_means(x, masks, c.masks); });
          CHECK(mismatch(got, want, {1e-6, 1e-6}) == "");
        }
      }
    }
  }
}

TEST_CASE("the gradient of means over masks is each voxel's share, and adds to what is there") {
  for (const Case& c : kCases) {
    CAPTURE(c.channels);
    const Tensor masks = masks_of(c), dy = field("dy", {c.batch, c.masks, c.channels}, 1);
    const Tensor before = field("before", grid_of(c), 1);
    Tensor want(grid_of(c));
    const int64_t voxels = c.h * c.w * c.d;
    for (int64_t v = 0; v < c.batch * voxels; ++v) {
      for (int64_t k = 0; k < c.channels; ++k) {
        double sum = 0;
        for (int64_t n = 0; n < c.masks; ++n) {
          if (!is_set(masks, v, n)) continue;
          double count = 1e-14;
          for (int64_t u = v / voxels * voxels; u < (v / voxels + 1) * voxels; ++u)
            count += is_set(masks, u, n) ? 1 : 0;
          sum += double(dy.data<float>()[(v / voxels * c.masks + n) * c.channels + k]) / count;
        }
        want.data<float>()[v * c.channels + k] = float(sum);
      }
    }
    CHECK(mismatch(gradient_of(c, dy, {}), want, {1e-5, 1e-6}) == "");
    CHECK(mismatch(gradient_of(c, dy, before), add(before, want), {1e-5, 1e-6}) == "");
    if (voxels > 1000) break;  // the definition above takes long
  }
}

TEST_CASE("means over masks and their gradient have the same bits for any threads") {
  const Case& c = kCases[2];
  CHECK(difference_by_threads([&] { return masked_means(features_of(c, true), masks_of(c), c.masks); }) == "");
  CHECK(difference_by_threads([&] {
          return gradient_of(c, field("dy", {c.batch, c.masks, c.channels}, 1), {});
        }) == "");
}

TEST_CASE("masks of another shape or type are refused") {
  const Features x{zeros({1, 2, 2, 2, 3})};
  CHECK_THROWS_AS(masked_means(x, zeros({1, 2, 2, 2, 1}), 1), Error);
  CHECK_THROWS_AS(masked_means(x, zeros({1, 2, 2, 1, 1}, DType::u8), 1), Error);
  CHECK_THROWS_AS(masked_means(x, zeros({1, 2, 2, 2, 1}, DType::u8), 9), Error);
  CHECK_THROWS_AS(masked_means(x, zeros({1, 2, 2, 2, 1}, DType::u8), 0), Error);
}
