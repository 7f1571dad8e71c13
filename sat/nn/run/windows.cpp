// Window starts and the Gaussian importance map of the published inference.
#include "sat/nn/run/windows.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

void check_window(const char* caller, const std::array<int64_t, 3>& window) {
  for (int64_t size : window) {
    SAT_CHECK(size >= 2, caller, ": window is ", window[0], " x ", window[1], " x ", window[2],
              " voxels, needs at least 2 along each axis");
  }
}

}  // namespace

WindowGrid::WindowGrid(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window, int outermost)
    : size_(size), window_(window) {
  check_window("sliding_windows", window);
  double count = 1;
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t n = size[axis], stride = window[axis] / 2;
    SAT_CHECK(n >= 1, "sliding_windows: volume is ", size[0], " x ", size[1], " x ", size[2],
              " voxels, needs at least 1 along each axis");
    along_[axis] = std::max<int64_t>(n / stride + (n % stride != 0) - 1, 1);
    count *= double(along_[axis]);
  }
  SAT_CHECK(count <= double(kMostWindows), "a volume of ", size[0], " x ", size[1], " x ", size[2], " voxels takes ",
            along_[0], " x ", along_[1], " x ", along_[2], " windows of ", window[0], " x ", window[1], " x ",
            window[2], " voxels; at most ", kMostWindows, " are computed");
  SAT_CHECK(outermost >= 0 && outermost < 3, "sliding_windows: axis is ", outermost, ", needs 0, 1 or 2");
  order_ = {outermost == 2 ? size_t(1) : size_t(2), outermost == 0 ? size_t(1) : size_t(0), size_t(outermost)};
}

Window WindowGrid::operator[](int64_t i) const {
  Window found;
  for (size_t axis : order_) {
    const int64_t start = i % along_[axis] * (window_[axis] / 2);
    i /= along_[axis];
    found.start[axis] = std::max<int64_t>(std::min(start, size_[axis] - window_[axis]), 0);
    found.end[axis] = std::min(found.start[axis] + window_[axis], size_[axis]);
  }
  return found;
}

std::vector<Window> sliding_windows(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window) {
  const WindowGrid grid(size, window);
  std::vector<Window> windows;
  windows.reserve(size_t(grid.size()));
  for (int64_t i = 0; i < grid.size(); ++i) windows.push_back(grid[i]);
  return windows;
}

Tensor importance_map(const std::array<int64_t, 3>& window, Rounding rounding) {
  check_window("importance_map", window);
  std::array<std::vector<double>, 3> squared;  // ((i - c) / s)^2 along each axis
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t n = window[axis];
    for (int64_t i = 0; i < n; ++i) {
      const double z = double(i - n / 2) / (double(n) / 8);
      squared[axis].push_back(z * z);
    }
  }
  Tensor map({window[0], window[1], window[2]});
  float* values = map.address<float>();
  const int64_t plane = window[1] * window[2];
  const size_t planes = size_t(window[0]);
  std::vector<float> smallest(planes, HUGE_VALF);  // that is not zero, of each H plane
  parallel_for(window[0], 1, [&](int64_t first, int64_t last) {
    for (int64_t h = first; h < last; ++h) {
      for (int64_t v = 0; v < plane; ++v) {
        const double sum =
            squared[0][size_t(h)] + squared[1][size_t(v / window[2])] + squared[2][size_t(v % window[2])];
        float value = float(10 * std::exp(-0.5 * sum));
        if (rounding == Rounding::f16) value = to_float(to_f16(value));
        values[h * plane + v] = value;
        if (value > 0) smallest[size_t(h)] = std::min(smallest[size_t(h)], value);
      }
    }
  });
  const float floor = *std::min_element(smallest.begin(), smallest.end());
  parallel_for(map.numel(), 1 << 16, [&](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) values[v] = std::max(values[v], floor);
  });
  return map;
}

}  // namespace sat
