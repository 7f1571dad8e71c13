// The scores of one case: its true masks against predicted ones, in SAT's protocol and in the scan's own space.
// Knows masks and grids; where they come from is predictions.h's and model_masks.h's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/evaluate/masks/case_masks.h"
#include "examples/sat/evaluate/masks/predictions.h"
#include "examples/sat/evaluate/score_table.h"
#include "sat/io/masks/bit_masks.h"

namespace sat::cli {

/// Predicted masks of some structures, first .. last, on the scan's grid and in the space of SAT's protocol. Without
/// the first (prompts == 0) nothing is scored on the scan's grid; without the second they are made from the first.
struct PredictedMasks {
  BitMasks scan, sat;
};

/// What a case is scored with.
struct CaseToScore {
  const LabelledCase& one;
  MaskFiles& truth;
  Geometry scan;                   // that truth and predictions lie on
  std::optional<StoredGrid> grid;  // of SAT's protocol where it is known; without it nothing is cropped
  std::function<PredictedMasks(size_t first, size_t last)> predicted;
  double tolerance_mm = 1;
  std::function<void(size_t done, size_t all)> on_progress;
};

/// A row for every structure of the truth, regions left empty. A structure without any true voxel is scored by the
/// rules for empty masks, left out, or refused, as the case's list says. Throws Error for a label map with values that
/// belong to no structure and are not ignored.
std::vector<ScoreRow> score_case(const CaseToScore& what);

/// Predicted masks as files have them; throws Error where they do not lie on the scan's grid.
std::function<PredictedMasks(size_t, size_t)> masks_of_files(MaskFiles& files, const PredictedCase& predicted,
                                                             const Geometry& scan, const std::string& scan_name);

}  // namespace sat::cli
