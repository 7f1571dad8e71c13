// Private. SAT's network and its gradients of one batch: what a training step computes, and a plan rehearses.
// Which batches there are is segmentation_task.h's.
#pragma once

#include <vector>

#include "sat/nn/sat/sat_model.h"
#include "sat/nn/train/optimiser/parameter_groups.h"
#include "sat/nn/train/segmentation/training_queries.h"
#include "sat/nn/train/training_task.h"

namespace sat {

struct SegmentationStepOptions {
  bool deep_supervision = true;
  float dropout = 0.1f;  // in the query decoder
  /// Stages of the backbone whose inner results are made again in the backward pass: less memory for more work.
  int recomputed_stages = 0;
};

class SegmentationStep {
 public:
  /// Parameters that the groups freeze get no gradient. Asks `weights` for all that the network has; with deep
  /// supervision for the heads of coarser scales too.
  SegmentationStep(const SatConfig& config, const Weights& weights, const ParameterGroups& groups,
                   TrainingQueries queries, const SegmentationStepOptions& options);

  /// Of the loss of these samples, which ask for equally many structures. `key`: what dropout is drawn by.
  NamedTensors gradients(std::vector<TrainingSample> samples, uint64_t key, BatchReport& report) const;

  /// The network's by published name, and kModalityTable.
  const NamedTensors& parameters() const { return parameters_; }
  const SatConfig& config() const { return config_; }
  const TrainingQueries& queries() const { return queries_; }
  void recompute(int stages) { options_.recomputed_stages = stages; }

 private:
  SatModel network() const;

  SatConfig config_;
  TrainingQueries queries_;
  SegmentationStepOptions options_;
  Weights weights_;
  NamedTensors parameters_;
};

/// A sample's sizes, as a dry run takes them: `crop` voxels, N structures.
TrainingSample virtual_sample(const std::array<int64_t, 3>& crop, int64_t N);

}  // namespace sat
