// The segmentation part of the form rad-dino-heads: a linear head, one with batch norm, UPerNet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// What is compared: statistics and losses, or the recorded arrays too.
enum class Recorded : uint8_t { statistics, arrays };
std::vector<ParityLine> compare_segmentation_heads(const std::string& folder, Recorded what = Recorded::arrays);

}  // namespace sat::test
