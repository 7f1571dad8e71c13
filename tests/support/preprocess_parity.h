// Compares preprocessing with recorded values, for the tests and for the program that checks whole folders.
#pragma once

#include <string>
#include <vector>

#include "sat/io/json.h"

namespace sat::test {

/// One quantity: its largest error and what is allowed. Whole numbers (shapes, boxes) count 1 for each that differs.
struct ParityLine {
  std::string quantity;
  double error = 0, limit = 0;
  bool passed() const { return error <= limit; }  // NaN fails
};

/// Runs one entry of a folder's values.json: reads its scan, preprocesses as published, compares every step, the
/// result and the windows. Intensity errors are fractions of the recorded range. Throws Error when a file is missing.
std::vector<ParityLine> compare_preprocess(const std::string& folder, const Json& record);

}  // namespace sat::test
