// Compares the augmentation of training crops with recorded values, for the tests and for the program that checks whole
// folders.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "sat-augment": each run of case.json on the generated image and labels, with the parameters that its
/// uniform numbers give. Parameters and voxels count their largest absolute difference, labels 1 for each voxel that
/// differs.
std::vector<ParityLine> compare_augmentation(const std::string& folder);

}  // namespace sat::test
