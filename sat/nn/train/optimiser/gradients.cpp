// Passes over gradients, one after the other in the order of their names.
#include "sat/nn/train/optimiser/gradients.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/parallel.h"
#include "sat/tensor/weights.h"

namespace sat {

namespace {

constexpr int64_t kGrain = 1 << 15;  // elements: enough to outweigh handing them to a thread

}  // namespace

void add_gradients(NamedTensors& sum, NamedTensors gradients) {
  for (auto& [name, gradient] : gradients) {
    const auto [found, is_new] = sum.try_emplace(name, gradient);
    if (is_new) continue;
    SAT_CHECK(found->second.shape == gradient.shape, "the gradient of '", name, "' has shape ", gradient.shape,
              ", the one before it ", found->second.shape);
    float* to = found->second.address<float>();
    const float* from = gradient.address<float>();
    parallel_for(gradient.numel(), kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) to[i] += from[i];
    });
    gradient = Tensor();
  }
}

void scale_gradients(NamedTensors& gradients, double factor) {
  const float by = float(factor);
  for (auto& [name, gradient] : gradients) {
    float* g = gradient.address<float>();
    parallel_for(gradient.numel(), kGrain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) g[i] *= by;
    });
  }
}

double gradient_norm(const NamedTensors& gradients) {
  double total = 0;
  std::vector<double> parts;
  for (const auto& [name, gradient] : gradients) {
    const float* g = gradient.address<float>();
    parts.assign(size_t(divide_up(gradient.numel(), kGrain)), 0);
    parallel_for(gradient.numel(), kGrain, [&](int64_t first, int64_t last) {
      // Eight sums that are added at the end: a single one would wait for itself.
      double sums[8] = {};
      int64_t i = first;
      for (; i + 8 <= last; i += 8) {
        for (int64_t k = 0; k < 8; ++k) sums[k] += double(g[i + k]) * double(g[i + k]);
      }
      for (; i < last; ++i) sums[0] += double(g[i]) * double(g[i]);
      for (const double sum : sums) parts[size_t(first / kGrain)] += sum;
    });
    for (const double part : parts) total += part;
  }
  return std::sqrt(total);
}

void clip_gradients(NamedTensors& gradients, double norm, double most) {
  const double factor = most / (norm + 1e-6);
  if (factor < 1) scale_gradients(gradients, factor);
}

void check_finite(const NamedTensors& gradients, int64_t step) {
  for (const auto& [name, gradient] : gradients) {
    const int64_t wrong = count_not_finite(gradient);
    SAT_CHECK(wrong == 0, "step ", step, ": the gradient of '", name, "' holds ", wrong, " of ", gradient.numel(),
              " values that are not finite: training went wrong; a lower learning rate or \"clip\" may help");
  }
}

}  // namespace sat
