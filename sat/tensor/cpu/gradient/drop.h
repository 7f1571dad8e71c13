// Private: which elements training drops (Dropout in ops.h).
#pragma once

#include <cstdint>

#include "sat/tensor/ops.h"

namespace sat::cpu {

/// What element i is multiplied by: 0, or 1 / (1 - rate).
inline float drop_factor(const Dropout& dropped, int64_t i) {
  if (dropped.rate == 0) return 1;
  uint64_t x = dropped.key + (uint64_t(i) + 1) * 0x9E3779B97F4A7C15;  // SplitMix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  const auto unit = float((x ^ (x >> 31)) >> 40) * 0x1p-24f;
  return unit < dropped.rate ? 0 : 1 / (1 - dropped.rate);
}

}  // namespace sat::cpu
