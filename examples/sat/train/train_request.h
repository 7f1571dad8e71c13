// What `sat train` is asked for on the command line; all else stands in its config.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sat/tensor/context.h"

namespace sat::cli {

struct TrainRequest {
  std::string config, output;
  bool resume = false, explain = false, quiet = false;
  int64_t max_steps = 0;  // of the whole run, those before a resume included; 0: as the config says
  double max_hours = 0;   // of this call; 0: no limit
  int64_t max_ram = 0;    // bytes; 0: no limit
  int threads = 0;
  CpuLevel cpu = best_cpu_level();
  std::optional<int64_t> seed;  // in place of the config's
};

/// Prints what a run would do, and changes nothing.
int explain(const TrainRequest& request);

}  // namespace sat::cli
