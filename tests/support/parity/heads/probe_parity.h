// Compares linear probes on RAD-DINO's features with recorded values; the segmentation heads of such a folder are
// segmentation_heads_parity.h's.
#pragma once

#include <string>
#include <vector>

#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// The `probe` part of a folder of kind "rad-dino-heads": for every number of blocks, with and without the mean patch,
/// logits, both losses and their gradients, and the SGD steps. Names and sizes come from case.json.
std::vector<ParityLine> compare_probe(const std::string& folder);

}  // namespace sat::test
