// Private. How sure a score is: the middle of what it was in samples drawn again. Knows numbers, not what they score.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace sat {

struct Interval {
  double low = 0, high = 0;
};

/// The percentiles, interpolated linearly as numpy.percentile has them, between which this share of the values lies.
/// `values` of some of `samples` samples; none where fewer than half of them have a value.
std::optional<Interval> interval_of(std::vector<double> values, size_t samples, double confidence);

}  // namespace sat
