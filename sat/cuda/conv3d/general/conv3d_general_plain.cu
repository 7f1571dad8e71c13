// The general convolution as its definition says: a thread an output. The reference of the tiled form.
#include "sat/cuda/conv3d/general/conv3d_general.h"

namespace sat::cuda {

namespace {

constexpr int kChannels = 32, kVoxels = 8;  // of a block's threads

/// y [B, H', W', D', out] from x [B, H, W, D, in] and weights [taps][in][out].
/// One thread an output, lanes along its channels: a warp reads 128 contiguous bytes of the weights and one value of x.
/// Each row of taps along D is summed by itself over its taps and input channels, and rows are added in order.
/// Traffic: every operand from memory or cache, 2 reads a multiplication.
__global__ void __launch_bounds__(kChannels* kVoxels) conv3d_general_plain_kernel(const GeneralConv conv) {
  const auto [H, W, D] = conv.in_size;
  const auto [kh, kw, kd] = conv.kernel;
  const int64_t voxel = int64_t(blockIdx.x) * kVoxels + threadIdx.y, o = int64_t(blockIdx.y) * kChannels + threadIdx.x;
  const int64_t w_size = conv.out_size[1], d_size = conv.out_size[2], a_sample = conv.out_size[0] * w_size * d_size;
  if (voxel >= conv.batch * a_sample || o >= conv.out) return;
  const int64_t at = voxel % a_sample;
  const float* x = conv.x + voxel / a_sample * H * W * D * conv.in;
  const int64_t h0 = at / d_size / w_size * conv.stride[0] - conv.padding[0];
  const int64_t w0 = at / d_size % w_size * conv.stride[1] - conv.padding[1];
  const int64_t d0 = at % d_size * conv.stride[2] - conv.padding[2];
  float sum = 0;
  for (int64_t row = 0; row < kh * kw; ++row) {
    const int64_t h = h0 + row / kw, w = w0 + row % kw;
    if (h < 0 || w < 0 || h >= H || w >= W) continue;
    float row_sum = 0;
    for (int64_t tap = 0; tap < kd; ++tap) {
      const int64_t d = d0 + tap;
      if (d < 0 || d >= D) continue;
      const float* from = x + ((h * W + w) * D + d) * conv.in;
      const float* weight = conv.weights + (row * kd + tap) * conv.in * conv.out + o;
      for (int64_t c = 0; c < conv.in; ++c) row_sum = fmaf(from[c], weight[c * conv.out], row_sum);
    }
    sum += row_sum;
  }
  conv.y[voxel * conv.out + o] = conv.bias ? sum + conv.bias[o] : sum;
}

}  // namespace

void conv3d_general_plain(const Stream& stream, const GeneralConv& conv) {
  const dim3 grid(unsigned(divide_up(conv.voxels(), kVoxels)), unsigned(divide_up(conv.out, kChannels)));
  launch(stream, {"conv3d_general_plain", grid, dim3(kChannels, kVoxels)}, conv3d_general_plain_kernel, conv);
}

}  // namespace sat::cuda
