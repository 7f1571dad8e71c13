// Compares the SAT network, the whole inference path and the trained small model with recorded values.
#pragma once

#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/words/json.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/weights.h"
#include "tests/support/parity/parity_line.h"

namespace sat::test {

/// Weights of the recorded values' generator, each name prefixed.
Weights generated_weights(const std::string& prefix);

/// Folders of kind "sat": one window through the network, with generated weights.
std::vector<ParityLine> compare_network(const std::string& folder);
/// Folders of kind "end-to-end": a scan to model-space masks, with generated weights and queries.
std::vector<ParityLine> compare_end_to_end(const std::string& folder);
/// Folders of kind "trained": a trained model on a scan, layer by layer and to both kinds of masks. `scan` replaces the
/// folder's own path to the scan when it is not empty.
std::vector<ParityLine> compare_trained(const std::string& folder, const std::string& scan = {});

/// Masks against recorded bits ([prompts, H, W, D / 8 rounded up], first voxel in the highest bit).
struct MaskDifference {
  double fraction = 0;  // of the voxels that differ; worst prompt
  double dice = 1;      // worst prompt
};
MaskDifference compare_masks(const BitMasks& masks, const Tensor& bits, const BitMasks* undecidable = nullptr);

}  // namespace sat::test
