// Private. Stochastic gradient descent with momentum, as torch.optim.SGD has it, and the official recipe of linear
// probes around it (rad-dino.md 10.1).
#pragma once

#include <cstdint>
#include <vector>

#include "sat/nn/probe/objective.h"

namespace sat {

class Momentum {
 public:
  explicit Momentum(double momentum = 0.9) : momentum_(momentum) {}

  /// v = momentum * v + gradient; x -= rate * v. The first v is the gradient.
  void step(std::vector<double>& x, const std::vector<double>& gradient, double rate);

 private:
  double momentum_;
  std::vector<double> velocity_;
};

struct SgdOptions {
  double rate = 0;        // at the first step, already scaled by batch / 256
  int64_t steps = 12500;  // 10 rounds of 1250, as published
  int64_t batch = 128;
  uint64_t seed = 0;  // of the first weights and the order of rows
};

/// Weights from N(0, 0.01^2), biases 0; rows in a new order each time round, batches across its end; the rate follows a
/// cosine to 0. Returns the parameters as ProbeObjective has them.
std::vector<double> fit_by_sgd(const ProbeObjective& objective, const std::vector<int64_t>& rows,
                               const SgdOptions& options);

}  // namespace sat
