// Private. What a model was made for, in words and millimetres: which part of the body its scans show, by modality.
// Carried as JSON by a bank of prompts (nn/text/embedding_bank.h); knows no network.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sat/io/scans/volume.h"
#include "sat/io/words/json.h"

namespace sat {

struct ModelCard {
  struct Entry {
    std::string modality;  // "ct", "mri", "pet" or "us"
    std::string region;    // what the scans show: "head and neck"
    /// Millimetres from and to that scans of this region extend, left-right, back-front and feet-head.
    std::array<std::array<double, 2>, 3> field_of_view_mm{};
  };
  std::vector<Entry> entries;  // at most one a modality; none: nothing is stated
};

/// Reads {"ct": {"region": "head and neck", "field_of_view_mm": [[300, 700], [300, 700], [150, 450]]}, ...}. Throws
/// Error naming `source` for anything else.
ModelCard model_card_from_json(const Json& json, const std::string& source);
Json to_json(const ModelCard& card);

/// A sentence where a scan extends less than half of what the entry states along some axis, or more than twice, so that
/// it hardly shows that region; else "".
std::string region_warning(const ModelCard::Entry& entry, const Geometry& scan);

}  // namespace sat
