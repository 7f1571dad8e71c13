// Ranks of differences, and the distribution of their sums under signs thrown by a coin.
#include "sat/nn/evaluation/paired_test.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sat/nn/evaluation/random_stream.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr size_t kMostExact = 100;

/// Twice the rank of each difference by size, so that shared ranks are whole: [1, n] twice.
std::vector<int64_t> doubled_ranks(const std::vector<double>& differences) {
  std::vector<size_t> order(differences.size());
  std::iota(order.begin(), order.end(), size_t(0));
  const auto size_of = [&](size_t i) { return std::fabs(differences[i]); };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size_of(a) < size_of(b); });
  std::vector<int64_t> ranks(order.size());
  for (size_t first = 0, last = 0; first < order.size(); first = last) {
    while (last < order.size() && size_of(order[last]) == size_of(order[first])) ++last;
    for (size_t i = first; i < last; ++i) ranks[order[i]] = int64_t(first + 1 + last);
  }
  return ranks;
}

/// The chance of a sum of doubled ranks at most `sum`, and of one at least `sum`.
std::pair<double, double> tails(const std::vector<int64_t>& ranks, int64_t sum) {
  std::vector<double> chance{1};  // of each sum so far
  for (const int64_t rank : ranks) {
    std::vector<double> next(chance.size() + size_t(rank));
    for (size_t i = 0; i < chance.size(); ++i) {
      next[i] += chance[i] / 2;
      next[i + size_t(rank)] += chance[i] / 2;
    }
    chance = std::move(next);
  }
  const auto at = chance.begin() + sum;
  return {std::accumulate(chance.begin(), at + 1, 0.0), std::accumulate(at, chance.end(), 0.0)};
}

double normal_p(const std::vector<int64_t>& ranks, double rank_sum) {
  double sum = 0, squares = 0;  // of ranks; squares of shared ranks are smaller, which is the correction for ties
  for (const int64_t rank : ranks) {
    sum += double(rank) / 2;
    squares += double(rank) * double(rank) / 4;
  }
  return std::erfc(std::fabs(rank_sum - sum / 2) / std::sqrt(squares / 4) / std::sqrt(2.0));
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

std::optional<Interval> interval_of_mean(const std::vector<double>& values, const PairedOptions& options) {
  if (values.size() < 2) return {};
  std::vector<double> means;
  for (int64_t sample = 0; sample < options.samples; ++sample) {
    RandomStream random(options.seed, uint64_t(sample));
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[size_t(random.below(int64_t(values.size())))];
    means.push_back(sum / double(values.size()));
  }
  return interval_of(std::move(means), size_t(options.samples), options.confidence);
}

}  // namespace

PairedTest paired_test(const std::vector<double>& differences, const PairedOptions& options) {
  PairedTest test;
  test.pairs = int64_t(differences.size());
  std::vector<double> unequal;
  for (const double difference : differences) {
    SAT_CHECK(std::isfinite(difference), "paired_test: a difference is ", difference);
    if (difference != 0) unequal.push_back(difference);
  }
  test.equal = test.pairs - int64_t(unequal.size());
  if (differences.empty()) return test;
  test.mean = mean_of(differences);
  test.interval = interval_of_mean(differences, options);
  if (unequal.empty()) return test;
  const std::vector<int64_t> ranks = doubled_ranks(unequal);
  int64_t positive = 0;
  for (size_t i = 0; i < ranks.size(); ++i) positive += unequal[i] > 0 ? ranks[i] : 0;
  test.rank_sum = double(positive) / 2;
  test.exact = unequal.size() <= kMostExact;
  if (test.exact) {
    const auto [below, above] = tails(ranks, positive);
    test.p = std::min(1.0, 2 * std::min(below, above));
  } else {
    test.p = normal_p(ranks, test.rank_sum);
  }
  return test;
}

std::vector<double> holm(const std::vector<double>& ps) {
  std::vector<size_t> order(ps.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ps[a] < ps[b]; });
  std::vector<double> corrected(ps.size());
  double worst = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    worst = std::max(worst, std::min(1.0, ps[order[i]] * double(order.size() - i)));
    corrected[order[i]] = worst;
  }
  return corrected;
}

}  // namespace sat
