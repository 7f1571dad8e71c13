// Private: sizes of the arrays that a ScoreRegion points into.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/tensor.h"

namespace sat {

struct ScoreSizes {
  std::array<int64_t, 3> scores, features, importance;
  int64_t channels, prompts;
};

inline std::array<int64_t, 3> grid_of(const Shape& shape, int first = 0) {
  return {shape[first], shape[first + 1], shape[first + 2]};
}

}  // namespace sat
