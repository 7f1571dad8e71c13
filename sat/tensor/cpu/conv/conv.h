// Private: convolutions on the CPU as conv_block.cpp composes them: the direct method, and the transposed convolution.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/cpu/moments.h"
#include "sat/tensor/tensor.h"

namespace sat::cpu {

/// One convolution's sizes: input grid, output grid and channels of the (up to two) inputs, whose concatenation is
/// read.
struct ConvShape {
  int64_t batch;
  std::array<int64_t, 3> in_size, out_size;
  int64_t in0, in1, out;  // channels; in1 = 0 for one input
  std::array<int64_t, 3> kernel, stride, padding;

  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

/// weight [out, in, kh, kw, kd] -> panels [ceil(out / 16), kh * kw * kd, in, 16].
Tensor direct_panels(const Tensor& weight);

/// Results as another reader wants them: f32 or f16, and their statistics.
struct ConvResult {
  void* values;
  DType dtype;
  Moments* statistics;  // [batch, out]: set
};
/// Without a bias.
void conv3d_counted(const ConvResult& y, const float* x0, const float* x1, const float* panels, const ConvShape& shape);

/// x [batch * H * W * D, in] -> y [batch, 2H, 2W, 2D, out]; panels of 8 * out outputs in the order (a, b, c, out).
void conv_transpose3d(float* y, const float* x, const float* panels, const float* bias, int64_t batch,
                      std::array<int64_t, 3> size, int64_t in, int64_t out);

}  // namespace sat::cpu
