// Private: which elements dropout keeps, on the device: the counter-based numbers of ops.h.
#pragma once

#include <cstdint>

#include "sat/tensor/ops.h"

namespace sat::cuda {

/// What element i is multiplied by: 0, or 1 / (1 - rate).
__device__ inline float kept_share(const Dropout& dropped, int64_t i) {
  uint64_t z = dropped.key + (uint64_t(i) + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return float(z >> 40) * 0x1p-24f < dropped.rate ? 0.f : 1 / (1 - dropped.rate);
}

}  // namespace sat::cuda
