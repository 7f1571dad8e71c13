// Private: what the lanes of a whole warp find out together, in a fixed order: the same bits in each lane.
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
