// Private. The loop's body: gradients of batches added, clipped, and taken by the optimiser at the schedule's rate; and
// the state of it all as a checkpoint. What is trained is a TrainingTask; when to stop, validate and write is the
// caller's.
#pragma once

#include <string>

#include "sat/nn/train/optimiser/schedule.h"
#include "sat/nn/train/training_checkpoint.h"
#include "sat/nn/train/training_task.h"

namespace sat {

struct TrainerOptions {
  RateSchedule schedule{{{200000, 20000, 1e-4}}};
  OptimiserOptions optimiser;
  ParameterGroups groups;
  int64_t accumulation = 1;           // batches an update
  bool average_accumulation = false;  // their gradients' mean, else their sum, as published
  double clip = 0;                    // the largest norm of all gradients; 0: not clipped, as published
  double average = 0;                 // decay of a moving average of what learns; 0: none
};

/// One line of a log.
struct StepReport {
  int64_t step = 0;
  double loss = 0;  // mean of its batches
  double rate = 0, gradient_norm = 0;
  Json details = Json::array();  // of each batch
  double wait_seconds = 0, data_seconds = 0, forward_seconds = 0, backward_seconds = 0, optimiser_seconds = 0;
};

class Trainer {
 public:
  Trainer(TrainingTask& task, TrainerOptions options);

  /// The next step, in the current context, where it can be cancelled until parameters move. What it throws then leaves
  /// all as the step before left it.
  StepReport step();
  int64_t done() const { return done_; }  // steps
  int64_t steps() const { return options_.schedule.steps(); }

  /// What validation and exports take: the averages where there are any, else the parameters themselves.
  NamedTensors best_values() const;

  /// Shares the tensors' bytes: to be written before the next step.
  TrainingCheckpoint checkpoint(const Json& config, const BestScore& best) const;
  /// Goes on where a checkpoint was made: copies its values into the parameters. Throws Error, naming `source` and what
  /// differs, for one of another model or other data, or of a config that would have computed something else.
  void resume(const TrainingCheckpoint& checkpoint, const Json& config, const std::vector<std::string>& free_keys,
              const std::string& source);

 private:
  void update(int64_t update, StepReport& report);

  TrainingTask& task_;
  TrainerOptions options_;
  Optimiser optimiser_;
  NamedTensors average_;
  int64_t done_ = 0;
};

}  // namespace sat
