// The convolution of ops.h in f32: any kernel size, stride and padding, as its definition says.
#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

constexpr int kChannels = 32, kVoxels = 8;  // of a block's threads

struct GeneralConv {
  std::array<int64_t, 3> in_size, out_size;  // H, W, D
  int64_t batch, in, out, kernel, stride, padding;
  const float *x, *weights, *bias;  // bias or null
  float* y;
};

/// y [B, H', W', D', out] from x [B, H, W, D, in] and weights [k * k * k][in][out], taps in the order (kh, kw, kd).
/// One thread an output, lanes along its channels: a warp reads 128 contiguous bytes of the weights and one value of x.
/// Each row of k taps is summed by itself over its taps and input channels, and rows are added in order.
/// Traffic: every operand from memory or cache, 2 reads a multiplication.
__global__ void __launch_bounds__(kChannels* kVoxels) conv3d_general_kernel(const GeneralConv conv) {
  const auto [H, W, D] = conv.in_size;
  const int64_t voxel = int64_t(blockIdx.x) * kVoxels + threadIdx.y, o = int64_t(blockIdx.y) * kChannels + threadIdx.x;
  const int64_t w_size = conv.out_size[1], d_size = conv.out_size[2], a_sample = conv.out_size[0] * w_size * d_size;
  if (voxel >= conv.batch * a_sample || o >= conv.out) return;
  const int64_t at = voxel % a_sample;
  const float* x = conv.x + voxel / a_sample * H * W * D * conv.in;
  const int64_t h0 = at / d_size / w_size * conv.stride - conv.padding;
  const int64_t w0 = at / d_size % w_size * conv.stride - conv.padding, d0 = at % d_size * conv.stride - conv.padding;
  float sum = 0;
  for (int64_t row = 0; row < conv.kernel * conv.kernel; ++row) {
    const int64_t h = h0 + row / conv.kernel, w = w0 + row % conv.kernel;
    if (h < 0 || w < 0 || h >= H || w >= W) continue;
    float row_sum = 0;
    for (int64_t tap = 0; tap < conv.kernel; ++tap) {
      const int64_t d = d0 + tap;
      if (d < 0 || d >= D) continue;
      const float* from = x + ((h * W + w) * D + d) * conv.in;
      const float* weight = conv.weights + (row * conv.kernel + tap) * conv.in * conv.out + o;
      for (int64_t c = 0; c < conv.in; ++c) row_sum = fmaf(from[c], weight[c * conv.out], row_sum);
    }
    sum += row_sum;
  }
  conv.y[voxel * conv.out + o] = conv.bias ? sum + conv.bias[o] : sum;
}

}  // namespace

PackedConv3d CudaBackend::pack_conv3d(const Tensor& weight) {
  PackedConv3d packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  packed.kernel = weight.shape[2];
  const int64_t taps = packed.kernel * packed.kernel * packed.kernel;
  Tensor panels({taps, packed.in, packed.out});
  parallel_for(taps, 1, [&](int64_t tap, int64_t) {
    const float* from = weight.data<float>();
    float* to = panels.data<float>() + tap * packed.in * packed.out;
    for (int64_t c = 0; c < packed.in; ++c) {
      for (int64_t o = 0; o < packed.out; ++o) to[c * packed.out + o] = from[(o * packed.in + c) * taps + tap];
    }
  });
  packed.panels = panels.to(runtime_.device());
  return packed;
}

void CudaBackend::conv3d(Tensor& y, const Tensor& x, const PackedConv3d& weight, const Tensor& bias,
                         const Conv3dOptions& options) {
  GeneralConv conv{};
  conv.in_size = grid_of(x.shape, 1);
  conv.out_size = grid_of(y.shape, 1);
  conv.batch = x.shape[0];
  conv.in = weight.in;
  conv.out = weight.out;
  conv.kernel = weight.kernel;
  conv.stride = options.stride;
  conv.padding = options.padding;
  conv.x = x.address<float>();
  conv.weights = weight.panels.address<float>();
  conv.bias = bias.address<float>();
  conv.y = y.address<float>();
  const int64_t voxels = conv.batch * conv.out_size[0] * conv.out_size[1] * conv.out_size[2];
  const dim3 grid(unsigned(divide_up(voxels, kVoxels)), unsigned(divide_up(conv.out, kChannels)));
  launch(runtime_.stream(), {"conv3d", grid, dim3(kChannels, kVoxels)}, conv3d_general_kernel, conv);
}

}  // namespace sat::cuda
