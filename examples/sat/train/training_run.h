// A training whose files are open and checked: what the loop of train.cpp is given, whatever the task is.
#pragma once

#include <string>

#include "sat/nn/train/training_task.h"

namespace sat::cli {

class TrainingRun {
 public:
  virtual ~TrainingRun() = default;
  virtual TrainingTask& task() = 0;
  /// Writes what was learnt as files that other commands take, and returns their names. `values` are parameters by
  /// name; `identity`: SHA-256 of the checkpoint that they come from.
  virtual std::string export_to(const std::string& folder, const NamedTensors& values,
                                const std::string& identity) const = 0;
};

}  // namespace sat::cli
