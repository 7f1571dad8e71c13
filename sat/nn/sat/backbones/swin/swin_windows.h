// Private. How Swin cuts a grid of tokens into windows: where each row of a window comes from and goes to, and which
// rows of a shifted window were neighbours before (spec b.3). Index arithmetic alone; nothing is computed here.
#pragma once

#include <array>

#include "sat/tensor/ops.h"

namespace sat {

using Grid3 = std::array<int64_t, 3>;  // of tokens, along H, W, D

/// The windows of a grid padded with zeros at the end of each axis. A window is at most the grid; a shift moves the
/// grid by half a window, rounded down, along every axis that is longer than a window.
struct SwinWindows {
  Grid3 size{};               // of a window, in tokens
  std::vector<int64_t> take;  // for each row, window by window: its token, or -1 for padding
  std::vector<int64_t> give;  // for each token: its row
  Segments segments;          // a window each; rows of other parts of the grid in other regions

  int64_t tokens() const { return size[0] * size[1] * size[2]; }
};
SwinWindows swin_windows(int64_t batch, const Grid3& grid, int64_t window, bool shifted);

/// The row of a bias table [(2 window - 1)^3, heads] for each pair of a window's n tokens: n * n of them.
/// QUIRK (parity): tokens are numbered by the whole window's axes even where the window is shorter than that, so that
/// the pairs of a small window take other rows of the table than their distances name.
std::vector<int64_t> swin_bias_rows(int64_t window, int64_t tokens);

/// For each of the half-resolution tokens, the eight tokens that PatchMerging joins.
/// QUIRK (parity): in (H, W, D) offsets 000, 100, 010, 001, 101, 010, 001, 111. Two stand twice, 110 and 011 never.
std::vector<int64_t> swin_merged_tokens(int64_t batch, const Grid3& grid);

}  // namespace sat
