// Cross-entropies, row by row, and the sum that threads do not change.
#include "sat/nn/image/losses.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sat/tensor/parallel.h"

namespace sat {

double ordered_sum(int64_t count, int64_t grain, const std::function<double(int64_t first, int64_t last)>& sum_of) {
  std::vector<double> sums(size_t(divide_up(count, grain)), 0);
  parallel_for(count, grain, [&](int64_t first, int64_t last) { sums[size_t(first / grain)] = sum_of(first, last); });
  return std::accumulate(sums.begin(), sums.end(), 0.);
}

double binary_cross_entropy_of(double logit, double target) {
  return std::max(logit, 0.) - logit * target + std::log1p(std::exp(-std::abs(logit)));
}

double cross_entropy(const Tensor& logits, const std::vector<int64_t>& labels, const std::vector<float>& weights) {
  SAT_CHECK(logits.shape.rank() == 2 && int64_t(labels.size()) == logits.shape[0] && !labels.empty() &&
                (weights.empty() || weights.size() == labels.size()),
            "cross-entropy: ", labels.size(), " labels and ", weights.size(), " weights for logits of shape ",
            logits.shape);
  const int64_t rows = logits.shape[0], classes = logits.shape[1];
  for (int64_t label : labels) {
    SAT_CHECK(label >= 0 && label < classes, "cross-entropy: label ", label, " of ", classes, " classes");
  }
  const Tensor host = to_host(logits);
  const float* values = host.address<float>();
  const double sum = ordered_sum(rows, 1, [&](int64_t row, int64_t) {
    const float* z = values + row * classes;
    const auto most = double(*std::max_element(z, z + classes));
    double total = 0;
    for (int64_t k = 0; k < classes; ++k) total += std::exp(double(z[k]) - most);
    const double loss = most + std::log(total) - double(z[labels[size_t(row)]]);
    return weights.empty() ? loss : double(weights[size_t(row)]) * loss;
  });
  return sum / double(rows);
}

double binary_cross_entropy(const Tensor& logits, const std::vector<float>& targets) {
  SAT_CHECK(int64_t(targets.size()) == logits.numel() && !targets.empty(), "binary cross-entropy: ", targets.size(),
            " targets for logits of shape ", logits.shape);
  const Tensor host = to_host(logits);
  const float* values = host.address<float>();
  const double sum = ordered_sum(logits.numel(), 1 << 14, [&](int64_t first, int64_t last) {
    double part = 0;
    for (int64_t i = first; i < last; ++i)
      part += binary_cross_entropy_of(double(values[i]), double(targets[size_t(i)]));
    return part;
  });
  return sum / double(logits.numel());
}

}  // namespace sat
