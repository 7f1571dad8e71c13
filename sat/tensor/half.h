// Limits of the half-width element types. Private: constants alone, so that files compiled for one CPU level and device
// code can include it.
#pragma once

namespace sat {

constexpr float kLargestF16 = 65504;  // f16 features are held within +- this

}  // namespace sat
