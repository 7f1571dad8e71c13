// The convolutions of ops.h on the device, of any kernel, stride and padding, and the transposed one, against their
// definitions in double.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/tensor/ops.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Case {
  Shape x;  // [B, H, W, D, in]
  int64_t out, kernel, stride, padding;
};

/// The definition: every tap, zeros outside.
Tensor expected(const Tensor& x, const Tensor& weight, const Tensor& bias, const Case& c, const Shape& shape) {
  Tensor y(shape);
  const int64_t k = c.kernel, in = x.shape[4], taps = k * k * k;
  for (int64_t at = 0; at < y.numel(); ++at) {
    const int64_t o = at % c.out, voxel = at / c.out;
    const int64_t d0 = voxel % shape[3], w0 = voxel / shape[3] % shape[2], h0 = voxel / shape[3] / shape[2] % shape[1];
    const int64_t sample = voxel / shape[3] / shape[2] / shape[1];
    double sum = bias.empty() ? 0 : double(bias.data<float>()[o]);
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t h = h0 * c.stride - c.padding + tap / k / k, w = w0 * c.stride - c.padding + tap / k % k;
      const int64_t d = d0 * c.stride - c.padding + tap % k;
      if (h < 0 || w < 0 || d < 0 || h >= x.shape[1] || w >= x.shape[2] || d >= x.shape[3]) continue;
      const int64_t from = ((sample * x.shape[1] + h) * x.shape[2] + w) * x.shape[3] + d;
      for (int64_t i = 0; i < in; ++i) {
        sum += double(x.data<float>()[from * in + i]) * double(weight.data<float>()[(o * in + i) * taps + tap]);
      }
    }
    y.data<float>()[at] = float(sum);
  }
  return y;
}

}  // namespace

TEST_CASE("conv3d follows its definition for any kernel, stride and padding, with and without a bias") {
  for (const Case& c :
       {Case{{1, 1, 1, 1, 1}, 1, 1, 1, 0}, Case{{2, 3, 4, 5, 3}, 33, 3, 1, 1}, Case{{1, 5, 4, 7, 2}, 5, 3, 2, 1},
        Case{{1, 8, 4, 4, 1}, 40, 4, 4, 0}, Case{{1, 2, 3, 2, 8}, 24, 5, 1, 2}, Case{{2, 4, 4, 4, 3}, 7, 2, 2, 0},
        Case{{1, 3, 3, 3, 4}, 3, 1, 2, 2}}) {
    CAPTURE(c.x);
    CAPTURE(c.kernel);
    const int64_t in = c.x[4], k = c.kernel;
    const Tensor x = field("x", c.x, 1), bias = field("bias", {c.out}, 1);
    const Tensor weight = field("weight", {c.out, in, k, k, k}, 1 / std::sqrt(double(in * k * k * k)));
    for (Precision precision : {Precision::exact, Precision::fast}) {  // f32 all the same
      const DeviceContext device(precision);
      for (const Tensor& added : {Tensor(), bias}) {
        const Tensor y = to_host(conv3d(to_compute_device(x), pack_conv3d(weight), to_compute_device(added),
                                        {.stride = c.stride, .padding = c.padding}));
        for (int axis = 1; axis < 4; ++axis) CHECK(y.shape[axis] == (c.x[axis] + 2 * c.padding - k) / c.stride + 1);
        CHECK(mismatch(y, expected(x, weight, added, c, y.shape), {1e-6, 1e-6}) == "");
      }
    }
  }
}

TEST_CASE("conv_transpose3d as an op takes samples one by one, and is f32 at every precision") {
  const Tensor x = field("x", {2, 3, 4, 5, 12}, 1), weight = field("weight", {12, 7, 2, 2, 2}, 0.5);
  const Tensor bias = field("bias", {7}, 1);
  for (Precision precision : {Precision::exact, Precision::fast}) {
    const DeviceContext device(precision);
    const Tensor y =
        to_host(conv_transpose3d(to_compute_device(x), pack_conv_transpose3d(weight), to_compute_device(bias)));
    REQUIRE(y.shape == Shape({2, 6, 8, 10, 7}));
    Tensor want(y.shape);
    for (int64_t at = 0; at < want.numel(); ++at) {
      const int64_t o = at % 7, d = at / 7 % 10, w = at / 70 % 8, h = at / 560;  // h of both samples
      const int64_t corner = h % 2 * 4 + w % 2 * 2 + d % 2, from = (h / 2 * 4 + w / 2) * 5 + d / 2;
      double sum = double(bias.data<float>()[o]);
      for (int64_t i = 0; i < 12; ++i) {
        sum += double(x.data<float>()[from * 12 + i]) * double(weight.data<float>()[(i * 7 + o) * 8 + corner]);
      }
      want.data<float>()[at] = float(sum);
    }
    CHECK(mismatch(y, want, {1e-6, 2e-6}) == "");
  }
}
