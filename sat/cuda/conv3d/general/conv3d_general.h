// Private: the variants of the general convolution (any kernel size, stride and padding, f32), one file each.
#pragma once

#include <array>
#include <cstdint>

#include "sat/cuda/device/stream.h"

namespace sat::cuda {

struct GeneralConv {
  std::array<int64_t, 3> in_size, out_size;  // H, W, D
  std::array<int64_t, 3> kernel, stride, padding;
  int64_t batch, in, out;
  const float *x, *weights, *bias;  // weights [taps][in][out], taps in the order (kh, kw, kd); bias or null
  float* y;
  __host__ __device__ int64_t voxels() const { return batch * out_size[0] * out_size[1] * out_size[2]; }
};

/// By the variant that suits it.
void conv3d_general(const Stream& stream, const GeneralConv& conv);
void conv3d_general_plain(const Stream& stream, const GeneralConv& conv);
void conv3d_general_tiled(const Stream& stream, const GeneralConv& conv);

}  // namespace sat::cuda
