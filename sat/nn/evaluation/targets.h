// Private. What is known of rows: labels that are there or not, or one class each. What losses and scores are held
// against; knows no files.
#pragma once

#include <cstdint>
#include <vector>

namespace sat {

struct Targets {
  int64_t labels = 0;          // K
  bool exclusive = false;      // classes: of every row one is 1 and the others are 0, or all are unknown
  std::vector<int8_t> states;  // [rows, K]: 1 there, 0 not there, -1 unknown

  int64_t rows() const { return labels == 0 ? 0 : int64_t(states.size()) / labels; }
  const int8_t* row(int64_t at) const { return states.data() + at * labels; }
};

}  // namespace sat
