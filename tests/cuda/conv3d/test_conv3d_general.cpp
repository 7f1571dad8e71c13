// The convolutions of ops.h on the device, of any kernel, stride and padding, and the transposed one, against their
// definitions in double.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/cuda/conv3d/general/conv3d_general.h"
#include "sat/tensor/ops.h"
#include "tests/cuda/device_array.h"
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
        const Tensor y =
            to_host(conv3d(to_compute_device(x), pack_conv3d(weight), to_compute_device(added), {c.stride, c.padding}));
        for (int axis = 1; axis < 4; ++axis) CHECK(y.shape[axis] == (c.x[axis] + 2 * c.padding - k) / c.stride + 1);
        CHECK(mismatch(y, expected(x, weight, added, c, y.shape), {1e-6, 1e-6}) == "");
      }
    }
  }
}

TEST_CASE("both forms of the general convolution agree, where a tile is full and where most of it is empty") {
  struct Sizes {
    std::array<int64_t, 3> grid, kernel, stride, padding;
    int64_t batch, in, out;
  };
  for (const Sizes& c : {Sizes{{9, 15, 1}, {3, 3, 1}, {1, 1, 1}, {1, 1, 0}, 2, 20, 70},
                         {{4, 3, 5}, {1, 2, 3}, {2, 1, 1}, {0, 1, 2}, 1, 3, 5},
                         {{16, 10, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, 1, 300, 8}}) {
    CAPTURE(c.in);
    cuda::GeneralConv conv{};
    conv.in_size = c.grid;
    conv.kernel = c.kernel;
    conv.stride = c.stride;
    conv.padding = c.padding;
    for (size_t a = 0; a < 3; ++a) conv.out_size[a] = (c.grid[a] + 2 * c.padding[a] - c.kernel[a]) / c.stride[a] + 1;
    conv.batch = c.batch;
    conv.in = c.in;
    conv.out = c.out;
    const int64_t taps = c.kernel[0] * c.kernel[1] * c.kernel[2];
    const auto made = [](const char* name, int64_t count, double scale) {
      const Tensor x = field(name, {count}, scale);
      return DeviceArray<float>(std::vector<float>(x.data<float>(), x.data<float>() + count));
    };
    const DeviceArray<float> x = made("x", c.batch * c.grid[0] * c.grid[1] * c.grid[2] * c.in, 1);
    const DeviceArray<float> weights = made("w", taps * c.in * c.out, 1 / std::sqrt(double(taps * c.in)));
    const DeviceArray<float> bias = made("b", c.out, 1);
    conv.x = x.data();
    conv.weights = weights.data();
    conv.bias = bias.data();
    const auto result = [&](auto* variant) {
      const DeviceArray<float> y(size_t(conv.voxels() * c.out));
      conv.y = y.data();
      variant(device_stream(), conv);
      return from_values({conv.voxels(), c.out}, y.values());
    };
    CHECK(mismatch(result(cuda::conv3d_general_tiled), result(cuda::conv3d_general_plain), {2e-6, 2e-6}) == "");
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
