// Structures by groups that fit memory, each scored in both spaces.
#include "examples/sat/evaluate/score_case.h"

#include <algorithm>

#include "examples/sat/evaluate/masks/predictions.h"
#include "sat/io/masks/resample_masks.h"
#include "sat/io/scans/scan_checks.h"
#include "sat/io/words/modality.h"
#include "sat/io/words/text.h"
#include "sat/nn/evaluation/segmentation/mask_scores.h"
#include "sat/tensor/error.h"

namespace sat::cli {

namespace {

constexpr int64_t kMaskBytesAtOnce = int64_t(256) << 20;  // of the true ones; predicted ones as much again

void check_known_values(const LabelledCase& one, MaskFiles& truth) {
  std::vector<std::string> checked;
  for (const StructureSource& structure : truth.structures()) {
    if (structure.values.empty() || structure.paths.empty()) continue;
    const std::string& path = structure.paths[0];
    if (std::find(checked.begin(), checked.end(), path) != checked.end()) continue;
    checked.push_back(path);
    std::vector<int64_t> known = one.ignored;
    for (const StructureSource& other : one.structures) {
      if (other.paths == structure.paths) known.insert(known.end(), other.values.begin(), other.values.end());
    }
    for (const int64_t value : truth.values(path)) {
      SAT_CHECK(std::find(known.begin(), known.end(), value) != known.end(), path, ": holds the value ", value,
                ", which belongs to no label and is not ignored");
    }
  }
}

BitMasks in_sat_space(const BitMasks& masks, const CaseToScore& what) {
  PreprocessOptions options;  // 1 x 1 x 3 mm
  options.orientation = what.one.orientation;
  if (!what.grid) return resample_masks(masks, what.scan, options);
  options.orientation = what.grid->orientation;
  const auto whole = plan_grid(what.scan, options).resampled.size;
  const auto& told = what.grid->resampled;
  SAT_CHECK(whole == told, "the model's space of ", what.one.image, " has ", whole[0], " x ", whole[1], " x ", whole[2],
            " voxels before its crop, the prediction's manifest says ", told[0], " x ", told[1], " x ", told[2]);
  return resample_masks(masks, what.scan, options, what.grid->crop);
}

void add_own(ScoreRow& row, const MaskScores& scores) {
  row[Score::truth_voxels] = double(scores.voxels.truth);
  row[Score::prediction_voxels] = double(scores.voxels.prediction);
  row[Score::dice] = scores.dice;
  row[Score::nsd] = scores.nsd;
  row[Score::hd95_mm] = scores.hausdorff_95;
  row[Score::hd_mm] = scores.hausdorff;
  row[Score::truth_to_prediction_mm] = scores.truth_to_prediction;
  row[Score::prediction_to_truth_mm] = scores.prediction_to_truth;
  row[Score::truth_ml] = scores.truth_ml;
  row[Score::prediction_ml] = scores.prediction_ml;
  row[Score::volume_error_ml] = scores.volume_error_ml();
  row[Score::volume_error] = scores.relative_volume_error;
}

void add_sat(ScoreRow& row, const SatScores& scores) {
  row[Score::sat_truth_voxels] = double(scores.voxels.truth);
  row[Score::sat_prediction_voxels] = double(scores.voxels.prediction);
  row[Score::sat_dice] = scores.dice;
  row[Score::sat_nsd] = scores.nsd;
}

/// Is an empty structure to be scored?
bool scores_empty(const LabelledCase& one, const std::string& structure) {
  SAT_CHECK(one.empty != EmptyLabel::refuse, quoted(structure), " has no voxel in the labels of ", name_of(one),
            "; `empty` of the data set can say what that means");
  return one.empty == EmptyLabel::absent;
}

}  // namespace

std::vector<ScoreRow> score_case(const CaseToScore& what) {
  check_known_values(what.one, what.truth);
  const std::vector<StructureSource>& structures = what.truth.structures();
  const int64_t bytes = BitMasks::bytes_needed(what.scan.size, 1);
  const auto at_once = size_t(std::max<int64_t>(1, kMaskBytesAtOnce / bytes));
  std::vector<ScoreRow> rows;
  for (size_t first = 0; first < structures.size(); first += at_once) {
    const size_t last = std::min(first + at_once, structures.size());
    const BitMasks truth = what.truth.read(first, last);
    PredictedMasks predicted = what.predicted(first, last);
    const BitMasks sat_truth = in_sat_space(truth, what);
    if (predicted.sat.prompts == 0) predicted.sat = in_sat_space(predicted.scan, what);
    for (size_t i = first; i < last; ++i) {
      const auto prompt = int64_t(i - first);
      if (what.on_progress) what.on_progress(i, structures.size());
      const bool known_absent = structures[i].paths.empty();
      if (!known_absent && truth.bounding_box(prompt).empty() && !scores_empty(what.one, structures[i].name)) continue;
      ScoreRow row;
      row.dataset = what.one.dataset;
      row.case_id = what.one.id;
      row.patient = what.one.patient;
      row.modality = name_of(parse_modality(what.one.modality));
      row.structure = structures[i].name;
      if (predicted.scan.prompts > 0) {
        add_own(row, score_mask(truth, prompt, predicted.scan, prompt, what.scan.voxel_to_world_mm, what.tolerance_mm));
      }
      add_sat(row, score_as_sat(sat_truth, prompt, predicted.sat, prompt));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::function<PredictedMasks(size_t, size_t)> masks_of_files(MaskFiles& files, const PredictedCase& predicted,
                                                             const Geometry& scan, const std::string& scan_name) {
  if (!predicted.model_space) {
    if (!files.path().empty()) check_same_grid(scan, scan_name, files.geometry(), files.path());
    return [&files](size_t first, size_t last) { return PredictedMasks{files.read(first, last), {}}; };
  }
  const StoredGrid& grid = *predicted.grid;
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(files.geometry().size[axis] == grid.crop[axis][1] - grid.crop[axis][0], files.path(), ": has ",
              files.geometry().size[axis], " voxels along axis ", axis, ", its manifest says ",
              grid.crop[axis][1] - grid.crop[axis][0]);
  }
  return [&files](size_t first, size_t last) { return PredictedMasks{{}, files.read(first, last)}; };
}

}  // namespace sat::cli
