// Private: what a step of the selective scan takes, the same in both variants.
#pragma once

namespace sat::cuda {

__device__ inline float silu(float x) { return x / (1.f + expf(-x)); }
__device__ inline float softplus(float x) { return x > 20.f ? x : log1pf(expf(x)); }

constexpr float kLog2OfE = 1.44269504088896341f;

/// By what a state decays in a step of length 1, as a power of two: in a step of any length by decay(step * rate).
__device__ inline float rate_of(float log_a) { return -expf(log_a) * kLog2OfE; }

/// 2^x, 0 below the normal numbers: one instruction, where exp2f takes care of those.
__device__ inline float decay(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace sat::cuda
