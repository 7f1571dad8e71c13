// Principal components of patch features, and what they look like: the first three as red, green and blue.
// Knows numbers and pixels, not where features come from.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::cli {

constexpr int64_t kComponents = 3;

struct Components {
  std::vector<double> mean;                         // [C]
  std::vector<std::vector<double>> axes;            // three of [C], of length 1, the largest element positive
  std::array<double, size_t(kComponents)> share{};  // of the variance
};

/// Of rows [N, C], N at least 2, C at least 3. The same bits for any number of threads.
Components principal_components(const Tensor& rows);

/// Rows along the axes: [N, 3].
Tensor projected(const Components& components, const Tensor& rows);

/// Projections [N, 3] as colours u8 [N, 3]: the 2nd percentile of each becomes 0, the 98th 255.
Tensor component_colours(const Tensor& projections);

}  // namespace sat::cli
