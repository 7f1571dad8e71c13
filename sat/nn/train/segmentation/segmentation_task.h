// Private. SAT's segmentation training as a task of the loop: batches from the loader, and validation by the sliding
// window that inference runs, with Dice by structure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sat/io/datasets/cache/case_cache.h"
#include "sat/nn/train/data/case_sampler.h"
#include "sat/nn/train/data/sample_loader.h"
#include "sat/nn/train/segmentation/segmentation_step.h"

namespace sat {

struct SegmentationTaskOptions {
  int64_t batch = 2;
  int64_t accumulation = 1;  // batches a step
  int64_t last_step = INT64_MAX;
  int64_t max_queries = 32;
  uint64_t seed = 0;
  int workers = 2;
};

class SegmentationTask : public TrainingTask {
 public:
  /// `sampler` outlives the task. `data`: SHA-256 of what is learnt from.
  SegmentationTask(SegmentationStep step, const CaseSampler& sampler, const CaseCache& cache,
                   std::vector<PreparedCase> validation, std::string data, const SegmentationTaskOptions& options);
  ~SegmentationTask() override;

  const NamedTensors& parameters() const override { return step_.parameters(); }
  Json model() const override { return to_json(step_.config()); }
  std::string data() const override { return data_; }
  NamedTensors gradients(const BatchPlace& place, BatchReport& report) override;
  bool validates() const override { return !validation_.empty(); }
  /// Mean Dice of the structures, each the mean over the cases that have it.
  ValidationReport validate(const NamedTensors& parameters) override;

 private:
  SegmentationStep step_;
  const CaseSampler& sampler_;
  const CaseCache& cache_;
  std::vector<PreparedCase> validation_;
  std::string data_;
  SegmentationTaskOptions options_;
  std::unique_ptr<SampleLoader> loader_;
};

/// SHA-256 of cases: what they are of, in order.
std::string hash_of(const std::vector<PreparedCase>& cases);

}  // namespace sat
