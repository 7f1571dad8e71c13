// Private. Losses of classifiers as numbers: cross-entropy, and binary cross-entropy of several labels. Summed in
// double in a fixed order, so the same for any number of threads. In a dry run, 0.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// The mean over rows of weight * (logsumexp(row) - row[label]): logits [R, K], a label a row in [0, K), a weight a row
/// or none. The divisor is R, whatever the weights.
double cross_entropy(const Tensor& logits, const std::vector<int64_t>& labels, const std::vector<float>& weights = {});

/// The mean over all elements of the binary cross-entropy of sigmoid(logit) and target; targets as many as logits.
double binary_cross_entropy(const Tensor& logits, const std::vector<float>& targets);

/// The same of one logit: max(z, 0) - z * t + log(1 + exp(-|z|)).
double binary_cross_entropy_of(double logit, double target);

/// The sum of `sum_of(first, last)` over pieces of [0, count) that depend on count and grain alone, added in order.
double ordered_sum(int64_t count, int64_t grain, const std::function<double(int64_t first, int64_t last)>& sum_of);

}  // namespace sat
