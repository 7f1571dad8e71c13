// Private: one segment of an attention, as its forms on the CPU share it.
#pragma once

#include <cstdint>

namespace sat::cpu {

constexpr float kOtherRegion = -100.f;  // what is added to the product of rows of two regions

/// Pointers to the segment's first rows, its bias [heads, queries, tokens] or null, and its rows' regions or null.
struct AttentionJob {
  float* y;
  const float *q, *k, *v, *bias;
  int64_t queries, tokens;
  const uint8_t* regions;

  /// What is added to the scaled product of a query and a key.
  float added(int64_t head, int64_t query, int64_t token) const {
    const float value = bias ? bias[(head * queries + query) * tokens + token] : 0.f;
    return regions && regions[query] != regions[token] ? value + kOtherRegion : value;
  }
};

}  // namespace sat::cpu
