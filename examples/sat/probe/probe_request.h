// What `sat probe fit` and `sat probe predict` are asked for.
// Knows how it is spelled, not how it is carried out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sat/io/features/labels.h"
#include "sat/nn/probe/fit_probe.h"
#include "sat/tensor/context.h"

namespace sat::cli {

struct ProbeRequest {
  enum class Action : uint8_t { fit, predict };
  Action action = Action::fit;

  std::string features, labels, probe;  // files to read
  std::string output, json, chart;      // files to write; JSON may go to "-", which is stdout
  LabelOptions label_options;
  bool flatten = false;    // tokens of an image become one row
  int64_t samples = 1000;  // of the bootstrap
  uint64_t seed = 0;
  int threads = 0;
  CpuLevel cpu = best_cpu_level();

  // Of fit alone.
  std::string validation_features, validation_labels, validation_list;
  double validation_share = 0.2, test_share = 0;
  FitOptions fit;
  std::optional<bool> standardise;  // none: as the method has it
};

}  // namespace sat::cli
