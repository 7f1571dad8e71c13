// Percentiles of a score's samples.
#include "sat/nn/evaluation/interval.h"

#include <algorithm>

namespace sat {

namespace {

double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * double(sorted.size() - 1);
  const auto below = size_t(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - double(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::optional<Interval> interval_of(std::vector<double> values, size_t samples, double confidence) {
  if (values.empty() || 2 * values.size() < samples) return {};
  std::sort(values.begin(), values.end());
  return Interval{percentile(values, (1 - confidence) / 2), percentile(values, (1 + confidence) / 2)};
}

}  // namespace sat
