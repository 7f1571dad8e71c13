// Scores of segmentations against recorded values, for the tests and for the program that checks whole folders.
#pragma once

#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "sat-metrics": masks_NN.npy [truth, prediction] of each case of values.json. Counts of voxels and
/// elements count 1 for each that differs; scores, areas and distances by the recorded value, at least 1.
std::vector<ParityLine> compare_segmentation_scores(const std::string& folder);

}  // namespace sat::test
