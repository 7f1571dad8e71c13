// SplitMix64 as a stream of doubles: a Weyl sequence, mixed.
#include "sat/io/reports/uniform_stream.h"

namespace sat {

UniformStream seeded_stream(uint64_t seed) {
  return [state = seed]() mutable {
    uint64_t x = state += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    return double(x >> 11) * 0x1p-53;
  };
}

}  // namespace sat
