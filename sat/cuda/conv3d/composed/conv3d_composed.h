// Private: the convolution of [up-sampled, skip] in which the transposed convolution is part of the weights, so that no
// up-sampled voxel exists. See compose.cpp for the algebra.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sat/cuda/kernels.h"
#include "sat/tensor/tensor.h"

namespace sat::cuda {

/// Planes [first, last) of conv3d([conv_transpose3d(low), skip]): 3x3x3, padding 1, one sample. Up to rounding it is
///   y[2i+a, 2j+b, 2k+c] = bias[border class] + sum over the 27 taps of the skip's weights
///                         + sum over t in {0, 1}^3 of weights_low[a,b,c][t] . low[i-1+a+t0, j-1+b+t1, k-1+c+t2].
/// The output may lie over skip planes that no call reads any more: this one reads skip planes [first - 1, last] and
/// low planes [(first - 1) / 2, last / 2], as far as they exist.
struct ComposedConv {
  std::array<int64_t, 3> low_size{};   // of the output and of skip: twice as much
  ConvInput low, skip;                 // of one half type
  const void* weights_low = nullptr;   // [8 = (a, b, c)][8 = (t0, t1, t2)][pad16(out)][pad16(low.channels)]
  const void* weights_skip = nullptr;  // [27][pad16(out)][skip_pitch], of which pad16(skip.channels) are read
  int64_t skip_pitch = 0;              // a multiple of 8
  const float* bias = nullptr;         // [27][out]: first, inner, last along each axis, row-major
  void* values = nullptr;              // plane h at h * 2W * 2D * out elements
  DType dtype = DType::f32;
  int64_t out = 0;
  int64_t first = 0, last = 0;
  /// [2H][conv3d_composed_partials()][out], of the f32 results: the planes' are written.
  PartialMoments* partials = nullptr;
};

/// "" or why this cannot be computed on a device.
std::string conv3d_composed_refusal(const ComposedConv& conv, const DeviceLimits& limits);
int64_t conv3d_composed_partials(const ComposedConv& conv);  // a plane
void conv3d_composed(const Stream& stream, const ComposedConv& conv);

/// What ComposedConv wants of weights as they are published, f32 on the CPU.
struct ComposedWeights {
  Tensor low;   // [8, 8, pad16(out), pad16(in)]
  Tensor bias;  // [27, out]
};
/// weight [out, up + skip, 3, 3, 3], up [in, up, 2, 2, 2], up_bias [up] or empty. Sums in double.
ComposedWeights compose_up(const Tensor& weight, const Tensor& up, const Tensor& up_bias);

}  // namespace sat::cuda
