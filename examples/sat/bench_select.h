// Which cases and forms `sat bench` runs for what was asked on the command line.
// Chooses; bench_run.h measures.
#pragma once

#include <vector>

#include "examples/sat/bench_run.h"
#include "examples/sat/command_line.h"

namespace sat::cli {

/// The cases of the request's operations, with its sizes in place of their own, each with its forms that run; without
/// operations, the standard cases. Throws UsageError for a name that nobody has, with the nearest one, and for sizes
/// that do not fit; what a form cannot do is an error only where the form was named.
std::vector<BenchJob> select_jobs(const BenchRequest& request, const std::vector<BenchOperation>& operations);

}  // namespace sat::cli
