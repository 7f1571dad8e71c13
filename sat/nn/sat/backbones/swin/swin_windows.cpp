// Swin's index arithmetic.
#include "sat/nn/sat/backbones/swin/swin_windows.h"

#include <algorithm>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// One axis: rows lie at places of the padded axis after its cyclic shift.
struct Axis {
  int64_t size, window, shift, windows;

  Axis(int64_t tokens, int64_t most, bool shifted)
      : size(tokens),
        window(std::min(most, tokens)),
        shift(shifted && tokens > most ? most / 2 : 0),
        windows(divide_up(tokens, window)) {}
  int64_t padded() const { return windows * window; }
  /// The token that lies at a place, or -1 for padding.
  int64_t token(int64_t place) const {
    const int64_t at = (place + shift) % padded();
    return at < size ? at : -1;
  }
  /// Which of up to three runs of the axis a place belongs to: the cyclic shift put the last of them beside strangers.
  int64_t region(int64_t place) const {
    if (shift == 0 || place < padded() - window) return 0;
    return place < padded() - shift ? 1 : 2;
  }
};

/// body(a, b, c) for all places of a box, the last axis fastest.
template <class Body>
void for_each_place(const Grid3& box, const Body& body) {
  for (int64_t a = 0; a < box[0]; ++a) {
    for (int64_t b = 0; b < box[1]; ++b) {
      for (int64_t c = 0; c < box[2]; ++c) body(a, b, c);
    }
  }
}

}  // namespace

SwinWindows swin_windows(int64_t batch, const Grid3& grid, int64_t window, bool shifted) {
  const std::array<Axis, 3> axes{Axis(grid[0], window, shifted), Axis(grid[1], window, shifted),
                                 Axis(grid[2], window, shifted)};
  const int64_t tokens = grid[0] * grid[1] * grid[2];
  SwinWindows cut;
  for (size_t a = 0; a < 3; ++a) cut.size[a] = axes[a].window;
  const int64_t count = batch * axes[0].windows * axes[1].windows * axes[2].windows;
  const bool has_regions = std::any_of(axes.begin(), axes.end(), [](const Axis& axis) { return axis.shift > 0; });
  cut.take.reserve(size_t(count * cut.tokens()));
  cut.give.assign(size_t(batch * tokens), 0);
  cut.segments = equal_segments(count, cut.tokens(), cut.tokens());
  for (int64_t sample = 0; sample < batch; ++sample) {
    for_each_place({axes[0].windows, axes[1].windows, axes[2].windows}, [&](int64_t i, int64_t j, int64_t k) {
      for_each_place(cut.size, [&](int64_t a, int64_t b, int64_t c) {
        const Grid3 place{i * axes[0].window + a, j * axes[1].window + b, k * axes[2].window + c};
        Grid3 at{}, region{};
        for (size_t axis = 0; axis < 3; ++axis) {
          at[axis] = axes[axis].token(place[axis]);
          region[axis] = axes[axis].region(place[axis]);
        }
        const bool inside = at[0] >= 0 && at[1] >= 0 && at[2] >= 0;
        const int64_t token = ((sample * grid[0] + at[0]) * grid[1] + at[1]) * grid[2] + at[2];
        if (inside) cut.give[size_t(token)] = int64_t(cut.take.size());
        cut.take.push_back(inside ? token : -1);
        if (has_regions) cut.segments.regions.push_back(uint8_t((region[0] * 3 + region[1]) * 3 + region[2]));
      });
    });
  }
  return cut;
}

std::vector<int64_t> swin_bias_rows(int64_t window, int64_t tokens) {
  const auto coordinates = [&](int64_t token) {
    return Grid3{token / (window * window), token / window % window, token % window};
  };
  std::vector<int64_t> rows;
  rows.reserve(size_t(tokens * tokens));
  for (int64_t i = 0; i < tokens; ++i) {
    const Grid3 query = coordinates(i);
    for (int64_t j = 0; j < tokens; ++j) {
      const Grid3 key = coordinates(j);
      int64_t row = 0;
      for (size_t axis = 0; axis < 3; ++axis) row = row * (2 * window - 1) + query[axis] - key[axis] + window - 1;
      rows.push_back(row);
    }
  }
  return rows;
}

std::vector<int64_t> swin_merged_tokens(int64_t batch, const Grid3& grid) {
  constexpr std::array<Grid3, 8> kJoined{
      {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 0, 1}, {0, 1, 0}, {0, 0, 1}, {1, 1, 1}}};
  std::vector<int64_t> ids;
  ids.reserve(size_t(batch * grid[0] * grid[1] * grid[2]));
  for (int64_t sample = 0; sample < batch; ++sample) {
    for_each_place({grid[0] / 2, grid[1] / 2, grid[2] / 2}, [&](int64_t a, int64_t b, int64_t c) {
      for (const Grid3& offset : kJoined) {
        const Grid3 at{2 * a + offset[0], 2 * b + offset[1], 2 * c + offset[2]};
        ids.push_back(((sample * grid[0] + at[0]) * grid[1] + at[1]) * grid[2] + at[2]);
      }
    });
  }
  return ids;
}

}  // namespace sat
