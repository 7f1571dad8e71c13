// One label a voxel out of masks that may overlap, and the legend that says which label is what.
// Knows nothing of files' formats beyond the legend's text; masks themselves stay whole (bit_masks.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/words/json.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// The rule in words, for manifests and legends.
constexpr const char* kLabelPriority =
    "where masks overlap the structure with fewer voxels wins; of equally large ones the earlier prompt";

/// Label i + 1 marks prompt i, 0 is background.
struct LabelMap {
  Tensor labels;                      // [H, W, D]; u8 up to 255 prompts, i32 beyond
  std::vector<int64_t> mask_voxels;   // of each prompt's mask
  std::vector<int64_t> label_voxels;  // of those, how many carry its label; the rest went to smaller structures
};

/// Where masks overlap the structure with fewer voxels wins, because it would vanish otherwise; ties go to the earlier
/// prompt. Labels are never summed. Does not depend on the order of prompts except in ties and in the values.
LabelMap label_map(const BitMasks& masks);

/// A colour for prompt `index`, the same in legends and previews. The first dozen are told apart easily; later ones
/// follow the golden angle.
std::array<uint8_t, 3> label_colour(int64_t index);

/// The legend as an ITK-SNAP label description file.
std::string itk_snap_legend(const std::vector<std::string>& names);

/// {"priority": ..., "labels": [{"value", "name", "colour": [r, g, b], "mask_voxels", "label_voxels"}, ...]}
Json legend_json(const LabelMap& map, const std::vector<std::string>& names);

}  // namespace sat
