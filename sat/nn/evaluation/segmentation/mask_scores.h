// Private. How well a predicted mask agrees with the true one: by voxels, by surfaces and by volume, and what each
// score is where a mask is empty. Both masks lie on one grid; knows no files and no names.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/volume.h"

namespace sat {

// Empty masks, in either space:
//                                            Dice, NSD    distances    relative volume error
//   both are empty                           1            none         none
//   only the true one is empty               0            none         none
//   only the predicted one is empty          0            none         -1
// Dice and NSD are SAT's rules (spec l.2); a distance to nothing is no number, so it is left out, never made one.

struct Overlap {
  int64_t truth = 0, prediction = 0, both = 0;  // voxels
  double dice() const;
};
Overlap overlap(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction, int64_t prediction_prompt);

/// Dice of every prompt, prediction p against truth p: what validation during training asks for. Throws Error where
/// sizes or numbers of prompts differ.
std::vector<double> dice_scores(const BitMasks& truth, const BitMasks& prediction);

/// Two surfaces and the distances between them, each element weighted by its area.
class SurfaceComparison {
 public:
  SurfaceComparison(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction, int64_t prediction_prompt,
                    const std::array<double, 3>& spacing_mm);

  struct Side {
    std::vector<double> distances;  // of each element to the other surface, rising; infinite where that has none
    std::vector<double> areas;      // of the same elements
    double area = 0;                // of all
  };
  const Side& truth() const { return truth_; }
  const Side& prediction() const { return prediction_; }

  /// Normalised surface distance (surface Dice): the share of both areas that lies within the tolerance of the other
  /// surface, its bound included.
  double nsd(double tolerance_mm) const;
  /// Mean distance from the truth to the prediction, and back. None where a mask is empty.
  std::optional<std::array<double, 2>> mean_distance() const;
  /// The distance within which this share of the area lies, for each surface; the larger of both. 1: Hausdorff's
  /// distance. None where a mask is empty.
  std::optional<double> hausdorff(double share) const;

 private:
  Side truth_, prediction_;
};

/// Everything about one mask.
struct MaskScores {
  Overlap voxels;
  double dice = 0, nsd = 0;
  std::optional<double> hausdorff_95, hausdorff;                   // mm
  std::optional<double> truth_to_prediction, prediction_to_truth;  // mean surface distances, mm
  double truth_ml = 0, prediction_ml = 0;
  std::optional<double> relative_volume_error;  // (prediction - truth) / truth
  double volume_error_ml() const { return prediction_ml - truth_ml; }
};

/// In the space of a grid: true spacing, and the volume of a voxel from its affine. Surfaces take its axes for
/// perpendicular.
MaskScores score_mask(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction,
                      int64_t prediction_prompt, const Affine& voxel_to_world_mm, double tolerance_mm);

/// SAT's protocol (spec l.2): Dice and NSD of masks in the model's space, whose axes count 1, 1 and 3 mm whatever they
/// are, at 1 mm.
struct SatScores {
  Overlap voxels;
  double dice = 0, nsd = 0;
};
SatScores score_as_sat(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction,
                       int64_t prediction_prompt);

}  // namespace sat
