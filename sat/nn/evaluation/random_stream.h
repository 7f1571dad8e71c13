// Private. Random numbers that are the same everywhere: SplitMix64 (Steele, Lea and Flood 2014). Streams are told apart
// by seed and number, so that pieces of a loop have one each, whichever thread runs them.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace sat {

class RandomStream {
 public:
  explicit RandomStream(uint64_t seed, uint64_t number = 0) : state_(mix(seed + kStep) ^ mix(number * kStep + 1)) {}

  uint64_t next() { return mix(state_ += kStep); }
  double unit() { return double(next() >> 11) * 0x1p-53; }  // in [0, 1)
  /// A whole number in [0, count), 0 < count <= 2^53; the bias is below count / 2^53.
  int64_t below(int64_t count) { return int64_t(unit() * double(count)); }
  /// From the standard normal distribution (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15;
  static constexpr uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  uint64_t state_;
};

}  // namespace sat
