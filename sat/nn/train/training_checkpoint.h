// Private. A training in one file: all that it goes on with, so that a run that was killed ends in the same bits as one
// that never was. Knows names and bytes; what is trained is trainer.h's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/nn/train/optimiser/optimiser.h"

namespace sat {

/// The validations so far.
struct BestScore {
  int64_t step = 0;  // of the best one; 0: there was none
  double score = 0;
  int64_t validated = 0;  // step of the last one
};

/// After `step` steps. Every random number is a function of the config's seed and the step (data/random.h), so there is
/// no other state.
struct TrainingCheckpoint {
  int64_t step = 0;
  BestScore best;
  Json config;              // of the run, all keys
  Json model;               // what the parameters belong to, as its config has it
  std::string data;         // SHA-256 of the list of cases
  NamedTensors parameters;  // all of them, frozen ones too
  std::map<std::string, Optimiser::Moments> moments;
  NamedTensors average;  // moving averages of those that learn, or none
};

/// One safetensors file that appears whole or not at all: "parameters.NAME", "first.NAME", "second.NAME",
/// "average.NAME", how often each moved, and the rest as metadata.
void write_training_checkpoint(const std::string& path, const TrainingCheckpoint& checkpoint);

/// Throws Error for a file that is no training checkpoint, one whose parts do not fit each other, and one with values
/// that are not finite.
TrainingCheckpoint read_training_checkpoint(const std::string& path);
bool is_training_checkpoint(const std::map<std::string, std::string>& metadata);  // of a safetensors file

/// Where two configs differ, a line a key: "stages[0].rate is 0.0001 there, 0.001 here". `free`: keys that may.
std::vector<std::string> differences(const Json& there, const Json& here, const std::vector<std::string>& free = {});

}  // namespace sat
