// The selective scan as its definition says: a thread walks along a channel. The reference of the chunked form.
#include "sat/cuda/device/stream.h"
#include "sat/cuda/sequences/scan_step.cuh"
#include "sat/cuda/sequences/selective_scan.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 32;  // channels of a block

/// y [B, L, C] as selective_scan() of ops.h, all in f32.
/// One thread a channel of a sequence, for all its steps; its states and their rates lie in shared memory,
/// [N][threads], so that lanes read different banks. Sums run over the states in order. Neighbours read neighbouring
/// channels. Traffic: x, delta and gate once, b and c once a block (broadcasts), y once. B * C threads are all that
/// work: 512 channels fill 16 warps of a device that holds thousands.
__global__ void __launch_bounds__(kThreads) selective_scan_plain_kernel(const Scan scan) {
  extern __shared__ float shared[];
  const int states = int(scan.states);
  float *state = shared + threadIdx.x, *rate = state + states * kThreads;
  const int64_t channel = int64_t(blockIdx.x) * kThreads + threadIdx.x, C = scan.channels;
  if (channel >= C) return;
  for (int n = 0; n < states; ++n) {
    state[n * kThreads] = 0;
    rate[n * kThreads] = rate_of(scan.log_a[channel * states + n]);
  }
  const float direct = scan.d[channel];
  for (int64_t l = blockIdx.y * scan.length; l < (blockIdx.y + 1) * scan.length; ++l) {
    const int64_t at = l * C + channel;
    const float x = scan.x[at], step = softplus(scan.delta[at]), input = step * x;
    float sum = direct * x;
    for (int n = 0; n < states; ++n) {
      float& h = state[n * kThreads];
      h = decay(step * rate[n * kThreads]) * h + input * scan.b[l * states + n];
      sum = fmaf(h, scan.c[l * states + n], sum);
    }
    scan.y[at] = sum * silu(scan.gate[at]);
  }
}

int64_t shared_bytes(const Scan& scan) { return 2 * scan.states * kThreads * int64_t(sizeof(float)); }

}  // namespace

std::string selective_scan_plain_refusal(const Scan& scan, const DeviceLimits& limits) {
  if (shared_bytes(scan) <= limits.shared_bytes) return "";
  return std::to_string(scan.states) + " states need " + std::to_string(shared_bytes(scan)) +
         " bytes of shared memory a block, this device has " + std::to_string(limits.shared_bytes);
}

void selective_scan_plain(const Stream& stream, const Scan& scan) {
  const dim3 grid(unsigned(divide_up(scan.channels, kThreads)), unsigned(scan.batch));
  launch(stream, {"selective_scan_plain", grid, kThreads, shared_bytes(scan)}, selective_scan_plain_kernel, scan);
}

}  // namespace sat::cuda
