// A segmentation training as its config says it: the files that it names opened, checked against each other, and put
// together as a task of the loop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/sat/output/progress.h"
#include "examples/sat/train/train_config.h"
#include "examples/sat/train/training_run.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/nn/train/segmentation/segmentation_plan.h"
#include "sat/nn/train/segmentation/segmentation_task.h"
#include "sat/nn/train/trainer.h"

namespace sat::cli {

/// What the config's files say before a voxel is read.
struct SegmentationFiles {
  SatConfig network;
  std::optional<Weights> init;  // of "model.init"; or of "model.atlas", under its own names
  LabelledData data;
  std::vector<CaseProblem> left_out;  // of the lists
  std::vector<std::string> names;     // of all structures, sorted
  EmbeddingBank bank;                 // of "text.bank"; else without phrases
  std::string text_identity;
  int64_t modality_numbers = 0;  // in the modality table
};
SegmentationFiles open_files(const TrainConfig& config, const std::function<void(const std::string&)>& warn);

/// How much of the data of a training there is: by data set, cases and structures.
struct DatasetCount {
  std::string name;
  int64_t cases = 0, structures = 0;
  double weight = 0;  // how likely a sample is one of it
};
std::vector<DatasetCount> count_datasets(const SegmentationFiles& files, const TrainConfig& config);

/// Parameters start from "model.init", "model.atlas" or random values; the heads that a file lacks from random ones.
Weights first_weights(const SegmentationFiles& files, const TrainConfig& config);

SegmentationStepOptions step_options(const TrainConfig& config);
/// Without sizes of cases.
SegmentationSizes sizes_of(const SegmentationFiles& files, const TrainConfig& config);

class SegmentationRun : public TrainingRun {
 public:
  /// Brings the cases into the cache, encodes the names, plans, and makes the task. `resumed`: where parameters come
  /// from, or null. `most_bytes`: of the whole process, 0: no limit. In the current context.
  SegmentationRun(const TrainConfig& config, SegmentationFiles files, const std::string& folder,
                  const TrainingCheckpoint* resumed, int64_t most_bytes, ProgressView& view);

  TrainingTask& task() override { return *task_; }
  /// model.safetensors and bank.safetensors, which `sat segment` takes.
  std::string export_to(const std::string& folder, const NamedTensors& values,
                        const std::string& identity) const override;

 private:
  TrainConfig config_;
  SegmentationFiles files_;
  std::optional<CaseCache> cache_;
  std::optional<CaseSampler> sampler_;
  std::optional<SegmentationTask> task_;
};

}  // namespace sat::cli
