// Private: sums and maxima over the 32 lanes of a warp, taken in a fixed order, so that every lane gets the same bits.
#pragma once

namespace sat::cuda {

__device__ inline float warp_sum(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
  return value;
}

}  // namespace sat::cuda
