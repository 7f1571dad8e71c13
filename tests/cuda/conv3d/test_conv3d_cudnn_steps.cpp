// The steps around cuDNN's convolution: with a plain convolution of their layouts in its place, they agree with the
// definition.
#include <doctest/doctest.h>

#include <cstring>

#include "sat/cuda/conv3d/cudnn/conv3d_cudnn.h"
#include "tests/cuda/conv3d/conv_reference.h"
#include "tests/cuda/device_array.h"

using namespace sat;
using namespace sat::test;

namespace {

template <class T>
float widened(T value) {
  if constexpr (sizeof(T) == 4) return value;
  if constexpr (sizeof(T) == 2) return to_float(value);
}
template <class T>
T narrowed(float value) {
  if constexpr (std::is_same_v<T, f16>) return to_f16(value);
  if constexpr (std::is_same_v<T, bf16>) return to_bf16(value);
  if constexpr (std::is_same_v<T, float>) return value;
}

/// y [H', W', D', out] = what cuDNN computes from x [H, W, D, in] and weights [out, 27, in].
template <class T>
void convolve(const cuda::Stream& stream, const cuda::Conv& conv) {
  const int64_t in = conv.inputs[0].channels + conv.inputs[1].channels;
  const auto [H, W, D] = conv.in_size;
  const auto [OH, OW, OD] = conv.out_size;
  const DeviceArray<T> joined(size_t(H * W * D * in)), turned(size_t(conv.out * 27 * in));
  cuda::join_inputs(stream, joined.data(), conv);
  cuda::turn_weights(stream, turned.data(), conv);
  const std::vector<T> x = joined.values(), w = turned.values();
  std::vector<T> y;
  for (int64_t at = 0; at < OH * OW * OD * conv.out; ++at) {
    const int64_t voxel = at / conv.out, o = at % conv.out;
    double sum = 0;
    for (int64_t tap = 0; tap < 27; ++tap) {
      const int64_t h = voxel / OD / OW * conv.stride + tap / 9 - 1,
                    c = voxel / OD % OW * conv.stride + tap / 3 % 3 - 1;
      const int64_t d = voxel % OD * conv.stride + tap % 3 - 1;
      if (h < 0 || c < 0 || d < 0 || h >= H || c >= W || d >= D) continue;
      for (int64_t i = 0; i < in; ++i) {
        sum += double(widened(x[size_t(((h * W + c) * D + d) * in + i)])) *
               double(widened(w[size_t((o * 27 + tap) * in + i)]));
      }
    }
    y.push_back(narrowed<T>(float(sum)));
  }
  cuda::check(cudaMemcpy(conv.values, y.data(), y.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  cuda::count_rows(stream, conv);
}

}  // namespace

TEST_CASE("around cuDNN: inputs are joined, weights turned and statistics counted in every type") {
  for (const int64_t channels : {8, 5}) {
    for (const int64_t stride : {1, 2}) {
      ConvCase c{.size = {3, 5, 9}, .channels = channels, .out = 24, .skip = 3 * channels, .stride = stride};
      CAPTURE(c);
      const auto difference = [&](DType dtype, const ConvReference::Kernel& kernel) {
        c.dtype = c.store = dtype;
        ConvReference reference(c);
        return reference.run(device_stream(), reference.conv().out_size[1], 0, kernel);
      };
      CHECK(difference(DType::f32, convolve<float>) == "");
      CHECK(difference(DType::f16, convolve<f16>) == "");
      CHECK(difference(DType::bf16, convolve<bf16>) == "");
    }
  }
}
