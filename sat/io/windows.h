// Sliding windows over a volume: where they lie, and how much each voxel of a window counts in the blend.
// Knows nothing of networks (nn/segmenter) or of millimetres (preprocess.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// A half-open box of voxels. Shorter than the window size where the volume is.
struct Window {
  std::array<int64_t, 3> start{}, end{};
  bool operator==(const Window& other) const { return start == other.start && end == other.end; }
};

/// Windows of the published inference: along each axis of n voxels max(ceil(n / stride) - 1, 1) windows, stride = half
/// the window; a window that would pass the end is moved back to end there. Axis 0 is the outermost loop, axis 2 the
/// innermost. Sizes are at least 1, windows at least 2; throws Error otherwise.
std::vector<Window> sliding_windows(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window);

/// The precision in which importance is stored: the published models use f16.
enum class Rounding : uint8_t { f16, f32 };

/// Weight of each voxel of a window in the blend, f32 [w0, w1, w2]: 10 * exp(-1/2 sum_a ((i_a - c_a) / s_a)^2) with
/// c = w / 2 (whole voxels) and s = w / 8. Values that the rounding turns into zero become the smallest one that is
/// not. A window shorter than this at the volume's end uses the leading corner of the map.
Tensor importance_map(const std::array<int64_t, 3>& window, Rounding rounding);

}  // namespace sat
