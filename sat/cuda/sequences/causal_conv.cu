// Mamba's short convolution along a sequence, on the device.
#include "sat/cuda/backend.h"
#include "sat/cuda/matrix/matrix_grid.cuh"
#include "sat/cuda/sequences/scan_step.cuh"

namespace sat::cuda {

namespace {

/// y [B * L, C] = silu(bias + sum over j of weight[:, j] * x[l - K + 1 + j]), j in order, zeros before a sequence's
/// first step. One thread a step and channel, neighbours along the channels. Traffic: 1 read of x (the other K - 1 from
/// the L2 cache), 1 write; the weight comes from the L1 cache.
__global__ void __launch_bounds__(kMatrixThreads)
    causal_conv1d_silu_kernel(float* y, const float* x, const float* weight, const float* bias, int64_t length,
                              int64_t steps, int64_t channels, int taps) {
  const auto [step, c, there] = element_of(steps, channels);
  if (!there) return;
  const int64_t l = step % length;
  float sum = bias[c];
  for (int tap = int(max(int64_t(0), taps - 1 - l)); tap < taps; ++tap) {
    sum = fmaf(weight[c * taps + tap], x[(step - taps + 1 + tap) * channels + c], sum);
  }
  y[step * channels + c] = silu(sum);
}

}  // namespace

void CudaBackend::causal_conv1d_silu(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t length = x.shape[1], steps = x.shape[0] * length, channels = x.shape[2];
  launch(runtime_.stream(), over_matrix("causal_conv1d_silu", steps, channels), causal_conv1d_silu_kernel,
         y.address<float>(), x.address<float>(), weight.address<float>(), bias.address<float>(), length, steps,
         channels, int(weight.shape[1]));
}

}  // namespace sat::cuda
