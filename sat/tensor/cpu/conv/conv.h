// Private: the direct method of convolutions on the CPU, as conv_block.cpp composes it.
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

}  // namespace sat::cpu
