// Private. Do two methods differ on the same cases? Wilcoxon's signed-rank test, and what many such tests are worth
// together. Knows differences, not what was measured.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sat/nn/evaluation/interval.h"

namespace sat {

struct PairedTest {
  int64_t pairs = 0, equal = 0;      // of those pairs with no difference, which do not count (Wilcoxon's rule)
  double mean = 0;                   // of the differences, all pairs
  std::optional<Interval> interval;  // of the mean, by the bootstrap; none below two pairs
  double rank_sum = 0;               // of the positive differences; equal sizes share the mean of their ranks
  std::optional<double> p;           // two-sided; none where no pair differs
  bool exact = false;                // p is exact, ties included; else the normal approximation, corrected for ties
};

struct PairedOptions {
  int64_t samples = 1000;  // of the bootstrap
  double confidence = 0.95;
  uint64_t seed = 0;
};

/// Exact up to 100 pairs that differ: the share of all signs whose rank sum is as far from its middle. Beyond, the
/// normal approximation without continuity correction. Throws Error for a difference that is not finite.
PairedTest paired_test(const std::vector<double>& differences, const PairedOptions& options = {});

/// Holm's correction (1979): what each p is worth among all of them. Every one that is below a level after it may be
/// believed with that chance of one error in all.
std::vector<double> holm(const std::vector<double>& ps);

}  // namespace sat
