// Private: what a model and a run over a scan will hold, learnt by running them in a dry context.
#pragma once

#include "sat/nn/run/plan.h"
#include "sat/nn/sat/sat_model.h"

namespace sat {

/// What loading a model in the current context takes.
struct ModelBytes {
  int64_t loading = 0;    // peak of the CPU's tensors while it is built
  int64_t on_host = 0;    // of its weights in the CPU's memory afterwards,
  int64_t on_device = 0;  // and in that of the device that computes
  int64_t weights() const { return on_device > 0 ? on_device : on_host; }
};
ModelBytes plan_model(const SatConfig& config);

/// plan_segmentation() in a context that a loaded model computes in: its device's cap is what the weights left.
SegmentationPlan plan_segmentation(const SatModel& model, const ModelBytes& held, const ModelGrid& grid,
                                   const RunOptions& run, int64_t prompts, const PlanLimits& limits);

/// "204015744 bytes (195 MiB)", rounded up, so that the MiB given as a limit are enough.
std::string in_bytes(int64_t bytes);

PreprocessOptions preprocess_options(const SatConfig& config, const RunOptions& run);

}  // namespace sat
