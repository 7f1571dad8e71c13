// Compares a step of SAT's segmentation training with recorded values: losses, gradients, parameters afterwards.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "sat" whose case says "training".
std::vector<ParityLine> compare_training_step(const std::string& folder);

}  // namespace sat::test
