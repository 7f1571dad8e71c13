// The official recipe, one rate.
#include "sat/nn/probe/sgd.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sat/nn/evaluation/random_stream.h"
#include "sat/tensor/context.h"

namespace sat {

void Momentum::step(std::vector<double>& x, const std::vector<double>& gradient, double rate) {
  velocity_.resize(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    velocity_[i] = momentum_ * velocity_[i] + gradient[i];
    x[i] -= rate * velocity_[i];
  }
}

std::vector<double> fit_by_sgd(const ProbeObjective& objective, const std::vector<int64_t>& rows,
                               const SgdOptions& options) {
  SAT_CHECK(!rows.empty() && options.batch > 0 && options.steps > 0, "a fit of ", options.steps, " steps of ",
            options.batch, " from ", rows.size(), " rows");
  constexpr uint64_t kWeights = 0, kOrder = 1;  // streams of the seed
  std::vector<double> parameters(size_t(objective.parameters()));
  const size_t weights = parameters.size() / size_t(objective.channels() + 1) * size_t(objective.channels());
  RandomStream first(options.seed, kWeights), shuffle(options.seed, kOrder);
  for (size_t i = 0; i < weights; ++i) parameters[i] = 0.01 * first.normal();

  std::vector<int64_t> order = rows, batch;
  std::vector<double> gradient;
  Momentum momentum;
  size_t at = order.size();
  for (int64_t step = 0; step < options.steps; ++step) {
    Context::current().stop_if_cancelled();
    batch.clear();
    while (int64_t(batch.size()) < options.batch) {
      if (at == order.size()) {
        for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[size_t(shuffle.below(int64_t(i) + 1))]);
        at = 0;
      }
      batch.push_back(order[at++]);
    }
    objective(parameters, batch, &gradient);
    const double part = double(step) / double(options.steps);
    momentum.step(parameters, gradient, options.rate * (1 + std::cos(std::numbers::pi * part)) / 2);
  }
  return parameters;
}

}  // namespace sat
