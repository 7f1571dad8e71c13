// One compared quantity of a recorded case.
#pragma once

#include <string>

namespace sat::test {

/// One quantity: its largest error and what is allowed. Whole numbers (shapes, boxes) count 1 for each that differs.
struct ParityLine {
  std::string quantity;
  double error = 0, limit = 0;
  bool passed() const { return error <= limit; }  // NaN fails
};

}  // namespace sat::test
