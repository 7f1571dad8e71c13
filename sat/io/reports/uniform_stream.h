// Private. Where the choices about reports come from: uniform numbers in [0, 1), one after the other.
#pragma once

#include <cstdint>
#include <functional>

namespace sat {

using UniformStream = std::function<double()>;

/// The stream of a seed, the same on every machine: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) with the seed as
/// its first state; each number is the upper 53 bits of the next output, divided by 2^53.
UniformStream seeded_stream(uint64_t seed);

}  // namespace sat
