// Layer norm over the last axis, on the device.
#include "sat/cuda/backend.h"
#include "sat/cuda/device/warp.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

/// y [rows, channels] = (x - mean) / sqrt(var + eps) * gain + bias, mean and biased variance of each row; gain and bias
/// are null for 1 and 0.
/// One warp a row, lanes 32 channels apart, so a warp reads 128 contiguous bytes; sums a lane, then a tree over lanes:
/// a row's bits depend on nothing else. Two passes, the mean first. Traffic: 1 read of x (the second and third come
/// from the L1 cache), 1 write. y may be x.
__global__ void __launch_bounds__(kThreads)
    layer_norm_kernel(float* y, const float* x, const float* gain, const float* bias, int64_t rows, int64_t channels,
                      float eps) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  x += row * channels;
  y += row * channels;

  float sum = 0;
  for (int64_t c = lane; c < channels; c += 32) sum += x[c];
  const float mean = warp_sum(sum) / float(channels);
  float squares = 0;
  for (int64_t c = lane; c < channels; c += 32) squares += (x[c] - mean) * (x[c] - mean);
  const float deviation = sqrtf(warp_sum(squares) / float(channels) + eps);
  for (int64_t c = lane; c < channels; c += 32) {
    const float normal = (x[c] - mean) / deviation;
    y[c] = gain ? normal * gain[c] + bias[c] : normal;
  }
}

}  // namespace

void CudaBackend::layer_norm(Tensor& y, const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) {
  const int64_t channels = x.shape[-1], rows = x.numel() / std::max<int64_t>(1, channels);
  launch(runtime_.stream(), {"layer_norm", unsigned(divide_up(rows, kWarps)), kThreads}, layer_norm_kernel,
         y.address<float>(), x.address<float>(), gain.address<float>(), bias.address<float>(), rows, channels, eps);
}

}  // namespace sat::cuda
