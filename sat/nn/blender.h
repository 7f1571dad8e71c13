// Overlapping windows become one score a voxel and prompt, row by row, in bounded memory (spec i).
// Knows windows and scores; not the network that makes features, nor the grid that masks go back to (io/restore.h).
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "sat/io/windows.h"
#include "sat/tensor/ops.h"

namespace sat {

/// How pending windows wait for their neighbours. Rows leave along `axis`, finished. Scores cost 4 bytes a prompt and
/// voxel, features 4 bytes a channel, voxel and window, however many prompts there are; both give the same bits.
struct BlendPlan {
  int axis = 0;
  bool keep_features = false;
};

/// Takes finished scores, mean over windows of tanh(l / 2) = 2 p - 1: `scores` [s0, s1, s2, n] holds the voxels from
/// `origin` on, of prompts `first_prompt` .. + n. Rows `first` .. `last` along the plan's axis are final (`last` itself
/// only if the volume has it); positions whose lower neighbour row lies in [first, last) can be decided.
using RowSink = std::function<void(const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first,
                                   int64_t last, int64_t first_prompt)>;

/// Blends the windows of one volume. Feed every window of windows(), in that order.
class Blender {
 public:
  Blender(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window, Rounding importance,
          int64_t prompts, BlendPlan plan, RowSink sink);

  const std::vector<Window>& windows() const { return windows_; }  // sorted along the plan's axis

  /// features [w0, w1, w2, C] of the whole window (voxels beyond the volume's end are passed over) and the prompts'
  /// mask vectors [N, C] for it.
  void add(Tensor features, const Tensor& masks);

 private:
  struct Kept {
    Window window;
    int64_t cut = 0;  // rows along the axis that have been given back
    Tensor features, masks;
  };
  std::array<int64_t, 3> box(int64_t rows) const;  // the volume's size with `rows` rows along the axis
  void accumulate(const Kept& part, const PackedMatrix& masks, const Tensor& scores, int64_t base, int64_t first,
                  int64_t last) const;
  void count(const Window& window, const Tensor& weights, int64_t base, int64_t first, int64_t last) const;
  void normalise(const Tensor& scores, const Tensor& weights, int64_t first, int64_t last) const;
  void finish_scores(int64_t until);
  void finish_features(int64_t until);
  void give_back_rows(int64_t until);

  std::array<int64_t, 3> size_, window_;
  int64_t prompts_;
  BlendPlan plan_;
  RowSink sink_;
  std::vector<Window> windows_;
  Tensor importance_;
  size_t added_ = 0;
  int64_t final_ = 0;    // rows before this one are final and normalised
  int64_t decided_ = 0;  // rows before this one have left
  // Waiting as scores: the rows from base_ on.
  Tensor scores_, weights_;
  int64_t base_ = 0;
  // Waiting as features: windows, and the last final row of every prompt.
  std::vector<Kept> kept_;
  Tensor last_row_;
};

}  // namespace sat
