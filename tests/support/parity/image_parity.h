// Compares the preparation of radiographs with recorded values, for the tests and for the program that checks whole
// folders.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "rad-dino-preprocess": each image of case.json is read (or generated), prepared as case.json says
/// and compared with values.json. 8-bit values, sums, sizes and checksums count 1 for each that differs; normalised
/// values their largest absolute difference.
std::vector<ParityLine> compare_rad_dino_preprocess(const std::string& folder);

}  // namespace sat::test
