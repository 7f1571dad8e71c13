// Private: what a model and a run over a scan will hold, learnt by running them in a dry context.
#pragma once

#include "sat/nn/loading.h"
#include "sat/nn/run/plan.h"
#include "sat/nn/sat/sat_model.h"

namespace sat {

/// What loading a model in the current context takes.
ModelBytes plan_model(const SatConfig& config);

/// plan_segmentation() in a context that a loaded model computes in: its device's cap is what the weights left.
SegmentationPlan plan_segmentation(const SatModel& model, const ModelBytes& held, const ModelGrid& grid,
                                   const RunOptions& run, int64_t prompts, const PlanLimits& limits);

PreprocessOptions preprocess_options(const SatConfig& config, const RunOptions& run);

}  // namespace sat
