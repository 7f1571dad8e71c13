// Two tables of scores of the same cases: do they differ?
#pragma once

#include "examples/sat/evaluate/evaluate_request.h"

namespace sat::cli {

/// Carries out `sat evaluate --compare A B`; returns the exit status.
int compare(const EvaluateRequest& request);

}  // namespace sat::cli
