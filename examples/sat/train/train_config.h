// What `sat train` is told by its config: every key with its default, which is the published value where there is one.
// docs/training.md lists them. Reads the config alone; what it names is opened by segmentation_run.h and
// knowledge/knowledge_run.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/train/config_section.h"
#include "examples/sat/train/knowledge/knowledge_config.h"
#include "sat/nn/train/optimiser/optimiser.h"
#include "sat/nn/train/optimiser/parameter_groups.h"
#include "sat/nn/train/optimiser/schedule.h"
#include "sat/tensor/context.h"

namespace sat::cli {

/// Where the network comes from and what of it learns.
struct ModelPart {
  std::string architecture;                     // a published one: UNET, UNET-L, ...
  std::string config;                           // or a JSON description of another
  std::string init;                             // a checkpoint to start from; empty: random weights
  std::string atlas;                            // or one of knowledge pre-training, of which the encoder starts
  std::vector<std::string> train{"*"}, freeze;  // patterns of names
};

/// Where queries come from.
struct TextPart {
  std::string bank;                 // phrases encoded before, or
  std::string encoder, vocabulary;  // a text encoder
  bool train_modality = true;       // whether the modality table learns
};

struct DataPart {
  std::vector<std::string> train, validation;
  double validation_fraction = -1;
  Json sampling;      // by data set, as SamplingTable has it; null: as published
  std::string cache;  // empty: in the run's folder
  int64_t workers = 2;
  bool skip_problems = true;  // else the first case that cannot be used ends the run
};

struct ValidationPart {
  int64_t every = 1000, cases = 8;
};

struct CheckpointPart {
  int64_t every = 1000, keep_every = 10000;  // steps; keep_every 0: no numbered ones
};

struct TrainConfig {
  uint64_t seed = 0;
  std::optional<KnowledgePart> knowledge;  // of task knowledge; the parts that follow are of task segmentation then
  ModelPart model;
  TextPart text;
  DataPart data;
  ValidationPart validation;
  CheckpointPart checkpoints;
  std::array<int64_t, 3> crop{288, 288, 64};
  int64_t max_queries = 32, batch = 2, accumulation = 1;
  bool average_accumulation = false;  // else gradients are summed, as published
  std::vector<RateStage> stages{{200000, 20000, 1e-4}};
  OptimiserOptions optimiser;
  std::vector<ParameterGroup> groups;  // all that is said by pattern: model.train, model.freeze and `groups`
  double clip = 0;                     // 0: not
  double average = 0;                  // decay of the moving average; 0: none
  Precision precision = Precision::exact;
  bool augmentation = true, deep_supervision = true;
  double dropout = 0.1;
};

/// Reads and checks a whole config; throws Error naming file and key.
TrainConfig read_train_config(const std::string& path);
TrainConfig train_config_of(const Json& json, const std::string& source);

/// All keys, so that it gives the same config when it is read again.
Json to_json(const TrainConfig& config);

/// Keys whose change leaves what a run computes as it is: a resumed run may have others.
const std::vector<std::string>& free_keys();

}  // namespace sat::cli
