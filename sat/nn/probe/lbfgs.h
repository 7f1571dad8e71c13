// Private. L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with a line search for the strong Wolfe conditions
// (algorithms 3.5 and 3.6): the least value of a smooth function. Knows nothing of what the function is.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace sat {

struct LbfgsOptions {
  int64_t memory = 10;        // pairs of steps that are kept
  int64_t iterations = 1000;  // at most
  double tolerance = 1e-7;    // of the largest element of the gradient
};

struct LbfgsResult {
  std::vector<double> x;
  double value = 0, gradient = 0;  // at x; the gradient's largest element
  int64_t iterations = 0, evaluations = 0;
  bool converged = false;
};

/// The function's value at x, and its gradient into `gradient`.
using Smooth = std::function<double(const std::vector<double>& x, std::vector<double>& gradient)>;

/// From `start` on. Ends where the gradient is within the tolerance, where rounding leaves no lower value along the
/// search direction, or after the iterations; `converged` says whether it was the first. Depends on the function's
/// values alone.
LbfgsResult minimise(const Smooth& function, std::vector<double> start, const LbfgsOptions& options = {});

}  // namespace sat
