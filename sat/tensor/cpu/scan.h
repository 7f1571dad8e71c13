// Private: the loops of Mamba's steps along a sequence, which one file chooses and another computes with AVX2. Holds
// plain declarations only, as vector_avx2.h does.
#pragma once

#include <cstdint>

namespace sat::cpu {

constexpr int64_t kScanChannels = 8;  // of a piece: what the vector form takes at a time

/// A run of steps of up to kScanChannels channels. Pointers are to the first step and channel; `stride` floats lie
/// between the steps of x, delta, gate and y, `states` between those of b and c.
struct ScanPiece {
  const float *x, *delta, *gate, *b, *c, *direct;
  const float* rates;  // [states, kScanChannels]: what a step of width 1 makes the logarithm of a state change by
  float* y;            // null where only the state is asked for
  int64_t steps, channels, states, stride;
};

namespace avx2 {

/// Takes the steps from `state` [states, kScanChannels] on, which is left as it is after them. total_step
/// [kScanChannels], where it is not null: the sum of the steps' widths.
void scan_steps(const ScanPiece& piece, float* state, float* total_step);

/// One step of all channels: y = silu(bias + sum over taps of kernel[tap] * taps[tap]); kernel [count, channels]; a tap
/// before the first step is null.
void causal_conv_silu(float* y, const float* const* taps, const float* kernel, const float* bias, int64_t count,
                      int64_t channels);

}  // namespace avx2

}  // namespace sat::cpu
