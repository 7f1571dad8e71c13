// Compares preprocessing with recorded values, for the tests and for the program that checks whole folders.
#pragma once

#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Runs one entry of a folder's values.json: reads its scan, preprocesses as published, compares every step, the
/// result and the windows. Intensity errors are fractions of the recorded range. Throws Error when a file is missing.
std::vector<ParityLine> compare_preprocess(const std::string& folder, const Json& record);

}  // namespace sat::test
