// Sliding windows over a volume: where they lie, and how much each voxel of a window counts in the blend.
// Knows nothing of networks (sat/) or of millimetres (preprocess.h).
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

/// More windows than this are refused: at a second each they take eleven days.
inline constexpr int64_t kMostWindows = 1000000;

/// Windows of the published inference, by number: along each axis of n voxels max(ceil(n / stride) - 1, 1) windows,
/// stride = half the window; a window that would pass the end is moved back to end there. One axis is the outermost
/// loop, the two others follow in their order.
class WindowGrid {
 public:
  /// Sizes are at least 1, windows at least 2, and there are at most kMostWindows; throws Error otherwise.
  WindowGrid(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window, int outermost = 0);

  int64_t size() const { return along_[0] * along_[1] * along_[2]; }
  Window operator[](int64_t i) const;

 private:
  std::array<int64_t, 3> size_, window_, along_{};  // along_: windows an axis
  std::array<size_t, 3> order_;                     // axes, the innermost loop first
};

/// All of them as a list, axis 0 outermost.
std::vector<Window> sliding_windows(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window);

/// The precision in which importance is stored: the published models use f16.
enum class Rounding : uint8_t { f16, f32 };

/// Weight of each voxel of a window in the blend, f32 [w0, w1, w2]: 10 * exp(-1/2 sum_a ((i_a - c_a) / s_a)^2) with
/// c = w / 2 (whole voxels) and s = w / 8. Values that the rounding turns into zero become the smallest one that is
/// not. A window shorter than this at the volume's end uses the leading corner of the map.
Tensor importance_map(const std::array<int64_t, 3>& window, Rounding rounding);

}  // namespace sat
