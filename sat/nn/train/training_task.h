// Private. What is trained, as the loop sees it (trainer.h): parameters, the gradients of one batch, and a score.
// segmentation_task.h and knowledge/ are two.
#pragma once

#include <cstdint>
#include <string>

#include "sat/io/words/json.h"
#include "sat/nn/train/optimiser/gradients.h"

namespace sat {

/// Which batch is asked for. All that is drawn for it is a function of the seed and these numbers.
struct BatchPlace {
  int64_t step = 1;    // from 1
  int64_t update = 0;  // of the step, where one step moves the parameters more than once
  int64_t part = 0;    // of the update, where gradients of several batches are added
};

/// What a batch gave, beside its gradients.
struct BatchReport {
  double loss = 0;
  Json details = Json::object();  // for the log
  double wait_seconds = 0, data_seconds = 0, forward_seconds = 0, backward_seconds = 0;
};

struct ValidationReport {
  double score = 0;               // the higher the better
  Json details = Json::object();  // for the log
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  /// All tensors by name, frozen ones too. Their bytes are what the optimiser moves.
  virtual const NamedTensors& parameters() const = 0;
  /// What they belong to, in a form that a checkpoint keeps and that is compared when a run is resumed.
  virtual Json model() const = 0;
  virtual std::string data() const = 0;  // SHA-256 of the list of what is learnt from

  virtual int64_t updates() const { return 1; }  // of the parameters, a step
  /// Of the loss of a batch, by name; parameters that it does not depend on are left out. In the current context.
  virtual NamedTensors gradients(const BatchPlace& place, BatchReport& report) = 0;
  /// Called after each update, with the parameters moved.
  virtual void after_update() {}

  virtual bool validates() const { return true; }  // whether there is anything to validate with
  /// How good these values are, parameters() or their averages (then of those that learn alone). In the current
  /// context, without a tape.
  virtual ValidationReport validate(const NamedTensors& parameters) = 0;
};

}  // namespace sat
