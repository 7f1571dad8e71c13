// Which cases and variants `sat bench` runs for what was asked on the command line.
// Chooses; bench_run.h measures.
#pragma once

#include <string>
#include <vector>

#include "examples/sat/bench/bench_run.h"
#include "examples/sat/command_line/command_line.h"

namespace sat::cli {

struct BenchSelection {
  std::vector<BenchJob> jobs;
  std::vector<std::string> refused;  // "CASE: REASON" of variants that were named, and do not run on a device
};

/// The cases of the request's operations, with its sizes in place of their own, each with its variants that run;
/// without operations, the standard cases. Throws UsageError for a name that nobody has, with the nearest one, and for
/// sizes that do not fit; what a variant cannot do is an error only where the variant was named, and on a device only
/// where nothing else runs: one variant cannot do all cases of an operation.
BenchSelection select_jobs(const BenchRequest& request, const std::vector<BenchOperation>& operations);

}  // namespace sat::cli
