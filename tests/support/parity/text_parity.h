// Compares text encoders and tokenizers with recorded values, for the tests and for the program that checks whole
// folders. Leaves out real.json, whose pretrained weights are not in such a folder, and what no part of SAT uses: the
// pooler and the slow tokenizer's ids.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Folders of kind "text": case.json names the prefix of the generated weights; every part of values.json,
/// tokenizer.json and unicode_blocks.json that is there is compared. A part whose file, key or array is absent is
/// passed over, but a folder in which nothing was compared throws Error. Hidden states and queries count their largest
/// absolute difference; ids count 1 for each text that differs, blocks 1 for each block.
std::vector<ParityLine> compare_text(const std::string& folder);

}  // namespace sat::test
