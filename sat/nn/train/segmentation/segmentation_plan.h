// Private: what a segmentation training will hold, learnt by running a step and a validation in a dry context.
#pragma once

#include <array>
#include <cstdint>

#include "sat/nn/train/optimiser/optimiser.h"
#include "sat/nn/train/segmentation/segmentation_step.h"

namespace sat {

/// What a step's memory depends on.
struct SegmentationSizes {
  std::array<int64_t, 3> crop{288, 288, 64};
  int64_t batch = 2, prompts = 32;  // a sample
  int64_t accumulation = 1;
  int64_t names = 0;  // structures that there are text embeddings of
  bool average = false;
  std::array<int64_t, 3> validation{};  // voxels of the largest case that is validated with, and how many structures
  int64_t validation_prompts = 0;       // it has; 0: there is none
  std::string validation_modality = "ct";
};

struct SegmentationTrainingPlan {
  int recomputed_stages = 0;
  int64_t learnt = 0, frozen = 0;  // numbers in parameters
  int64_t state_bytes = 0;         // parameters, moments and averages
  int64_t step_bytes = 0;          // at most in a step, the state included
  int64_t validation_bytes = 0;    // at most while validating, the state included
  int64_t loader_bytes = 0;        // samples that wait
  int64_t process_bytes() const;   // of the whole process
};

/// Plans with the current context's threads, CPU level and precision. The fewest stages are recomputed with which
/// `max_ram` bytes (0: no limit) are enough; throws MemoryError, with what would be, where none are.
SegmentationTrainingPlan plan_training(const SatConfig& config, const ParameterGroups& groups,
                                       const SegmentationStepOptions& options, const OptimiserOptions& optimiser,
                                       const SegmentationSizes& sizes, int64_t loader_bytes, int64_t max_ram);

}  // namespace sat
