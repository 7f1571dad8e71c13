// Counting voxels, and sums over surface elements by rising distance.
#include "sat/nn/evaluation/segmentation/mask_scores.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "sat/io/masks/bit_blocks.h"
#include "sat/nn/evaluation/segmentation/mask_surface.h"
#include "sat/nn/evaluation/segmentation/surface_distance.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr std::array<double, 3> kSatSpacing{1, 1, 3};
constexpr double kSatToleranceMm = 1;

void check_grids(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction, int64_t prediction_prompt) {
  SAT_CHECK(truth.size == prediction.size, "a true mask of ", truth.size[0], " x ", truth.size[1], " x ", truth.size[2],
            " voxels and a predicted one of ", prediction.size[0], " x ", prediction.size[1], " x ",
            prediction.size[2]);
  SAT_CHECK(truth_prompt >= 0 && truth_prompt < truth.prompts && prediction_prompt >= 0 &&
                prediction_prompt < prediction.prompts,
            "masks ", truth_prompt, " and ", prediction_prompt, " of ", truth.prompts, " true and ", prediction.prompts,
            " predicted ones");
}

/// Of one plane. Bits beyond the grid are 0 in both.
Overlap overlap_of_plane(const uint8_t* truth, const uint8_t* prediction, int64_t bytes) {
  Overlap counted;
  for (int64_t at = 0; at < bytes; at += 8) {
    uint64_t t, p;
    std::memcpy(&t, truth + at, 8);
    std::memcpy(&p, prediction + at, 8);
    counted.truth += count_bits(t);
    counted.prediction += count_bits(p);
    counted.both += count_bits(t & p);
  }
  return counted;
}

Overlap& operator+=(Overlap& sum, const Overlap& more) {
  sum.truth += more.truth;
  sum.prediction += more.prediction;
  sum.both += more.both;
  return sum;
}

SurfaceComparison::Side side_of(const std::vector<SurfaceElement>& elements, const std::vector<SurfaceElement>& other,
                                const std::array<double, 3>& spacing_mm, const std::array<double, 256>& areas) {
  struct Element {
    double distance, area;
  };
  const std::vector<double> distances = distances_to(elements, other, spacing_mm);
  std::vector<Element> sorted(elements.size());
  for (size_t i = 0; i < elements.size(); ++i) sorted[i] = {distances[i], areas[elements[i].code]};
  std::sort(sorted.begin(), sorted.end(), [](const Element& a, const Element& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.area < b.area;
  });
  SurfaceComparison::Side side;
  for (const Element& element : sorted) {
    side.distances.push_back(element.distance);
    side.areas.push_back(element.area);
    side.area += element.area;
  }
  return side;
}

double area_within(const SurfaceComparison::Side& side, double tolerance) {
  const auto end = std::upper_bound(side.distances.begin(), side.distances.end(), tolerance);
  return std::accumulate(side.areas.begin(), side.areas.begin() + (end - side.distances.begin()), 0.0);
}

double mean_of(const SurfaceComparison::Side& side) {
  return std::inner_product(side.distances.begin(), side.distances.end(), side.areas.begin(), 0.0) / side.area;
}

double distance_of_share(const SurfaceComparison::Side& side, double share) {
  double area = 0;
  for (size_t i = 0; i < side.areas.size(); ++i) {
    area += side.areas[i];
    if (area / side.area >= share) return side.distances[i];
  }
  return side.distances.back();
}

}  // namespace

double Overlap::dice() const { return truth + prediction == 0 ? 1 : 2 * double(both) / double(truth + prediction); }

Overlap overlap(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction, int64_t prediction_prompt) {
  check_grids(truth, truth_prompt, prediction, prediction_prompt);
  const int64_t H = truth.size[0];
  constexpr int64_t kPlanesAtOnce = 32;
  std::vector<Overlap> pieces(size_t(divide_up(H, kPlanesAtOnce)));
  parallel_for(H, kPlanesAtOnce, [&](int64_t first, int64_t last) {
    pieces[size_t(first / kPlanesAtOnce)] =
        overlap_of_plane(truth.plane(truth_prompt, first), prediction.plane(prediction_prompt, first),
                         (last - first) * truth.plane_bytes);
  });
  Overlap all;
  for (const Overlap& piece : pieces) all += piece;
  return all;
}

std::vector<double> dice_scores(const BitMasks& truth, const BitMasks& prediction) {
  SAT_CHECK(truth.prompts == prediction.prompts, truth.prompts, " true masks and ", prediction.prompts, " predicted");
  std::vector<double> scores;
  for (int64_t p = 0; p < truth.prompts; ++p) scores.push_back(overlap(truth, p, prediction, p).dice());
  return scores;
}

SurfaceComparison::SurfaceComparison(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction,
                                     int64_t prediction_prompt, const std::array<double, 3>& spacing_mm) {
  check_grids(truth, truth_prompt, prediction, prediction_prompt);
  const std::vector<SurfaceElement> of_truth = surface_of(truth, truth_prompt);
  const std::vector<SurfaceElement> of_prediction = surface_of(prediction, prediction_prompt);
  const std::array<double, 256> areas = surface_areas(spacing_mm);
  truth_ = side_of(of_truth, of_prediction, spacing_mm, areas);
  prediction_ = side_of(of_prediction, of_truth, spacing_mm, areas);
}

double SurfaceComparison::nsd(double tolerance_mm) const {
  const double all = truth_.area + prediction_.area;
  return all == 0 ? 1 : (area_within(truth_, tolerance_mm) + area_within(prediction_, tolerance_mm)) / all;
}

std::optional<std::array<double, 2>> SurfaceComparison::mean_distance() const {
  if (truth_.distances.empty() || prediction_.distances.empty()) return {};
  return std::array<double, 2>{mean_of(truth_), mean_of(prediction_)};
}

std::optional<double> SurfaceComparison::hausdorff(double share) const {
  if (truth_.distances.empty() || prediction_.distances.empty()) return {};
  return std::max(distance_of_share(truth_, share), distance_of_share(prediction_, share));
}

MaskScores score_mask(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction,
                      int64_t prediction_prompt, const Affine& voxel_to_world_mm, double tolerance_mm) {
  MaskScores scores;
  scores.voxels = overlap(truth, truth_prompt, prediction, prediction_prompt);
  scores.dice = scores.voxels.dice();
  const SurfaceComparison surfaces(truth, truth_prompt, prediction, prediction_prompt, column_norms(voxel_to_world_mm));
  scores.nsd = surfaces.nsd(tolerance_mm);
  scores.hausdorff_95 = surfaces.hausdorff(0.95);
  scores.hausdorff = surfaces.hausdorff(1);
  if (const auto means = surfaces.mean_distance()) {
    scores.truth_to_prediction = (*means)[0];
    scores.prediction_to_truth = (*means)[1];
  }
  const double voxel_ml = std::fabs(determinant(voxel_to_world_mm)) / 1000;
  scores.truth_ml = double(scores.voxels.truth) * voxel_ml;
  scores.prediction_ml = double(scores.voxels.prediction) * voxel_ml;
  if (scores.voxels.truth > 0) {
    scores.relative_volume_error = double(scores.voxels.prediction - scores.voxels.truth) / double(scores.voxels.truth);
  }
  return scores;
}

SatScores score_as_sat(const BitMasks& truth, int64_t truth_prompt, const BitMasks& prediction,
                       int64_t prediction_prompt) {
  const Overlap voxels = overlap(truth, truth_prompt, prediction, prediction_prompt);
  const SurfaceComparison surfaces(truth, truth_prompt, prediction, prediction_prompt, kSatSpacing);
  return {voxels, voxels.dice(), surfaces.nsd(kSatToleranceMm)};
}

}  // namespace sat
