// RAD-DINO's encoder against recorded values: the kind `rad-dino-encoder`.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

std::vector<ParityLine> compare_vit(const std::string& folder);

}  // namespace sat::test
