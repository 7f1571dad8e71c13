// Predicted masks that a model makes while it is evaluated.
// Knows one case at a time; scoring is score_case.h's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/sat/evaluate/evaluate_request.h"
#include "examples/sat/evaluate/score_case.h"
#include "examples/sat/output/progress.h"
#include "sat/nn/run/session.h"

namespace sat::cli {

class ModelMasks {
 public:
  /// Loads the model. Throws UsageError for devices other than one.
  ModelMasks(const EvaluateRequest& request, ProgressView& view);

  Context& context() const { return session_->context(); }
  const Model& model() const { return session_->model(); }

  /// Segments a case's scan and keeps the masks until the next one; with --keep-masks also as files below the output
  /// folder, masks/CASE/STRUCTURE.nii.gz. Throws Error for a prompt that is not known, and whatever sat segment
  /// refuses.
  void segment(const LabelledCase& one, const std::vector<StructureSource>& structures);

  std::optional<StoredGrid> grid(const LabelledCase& one) const;  // of SAT's protocol, where the model has its space
  PredictedMasks masks(size_t first, size_t last) const;

 private:
  bool of_sat(const LabelledCase& one) const;  // the model sees such scans as SAT's protocol scores them

  const EvaluateRequest& request_;
  ProgressView& view_;
  std::optional<Session> session_;
  NiftiHeader scan_;
  Segmentation result_;
};

}  // namespace sat::cli
