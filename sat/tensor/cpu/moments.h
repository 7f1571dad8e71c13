// Private: count, mean and sum of squared deviations, and how those of two parts merge.
#pragma once

namespace sat::cpu {

/// Statistics of part of a channel; parts merge by Chan's formula, which never takes a difference of large squares.
struct Moments {
  double count = 0, mean = 0, m2 = 0;

  void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count, delta = other.mean - mean;
    mean += delta * other.count / total;
    m2 += other.m2 + delta * delta * count * other.count / total;
    count = total;
  }
};

}  // namespace sat::cpu
