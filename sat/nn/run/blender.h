// Private. Overlapping windows become one score a voxel and prompt, row by row, in bounded memory (spec i).
// Knows windows and scores; not the network that makes features, nor the grid that masks go back to
// (io/masks/restore.h).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/files/scratch_file.h"
#include "sat/nn/run/plan.h"
#include "sat/nn/run/windows.h"
#include "sat/tensor/ops.h"

namespace sat {

/// Rows leave along `axis`, finished. Spilled ones, and those of a device, leave along axis 0.
struct BlendPlan {
  int axis = 0;
  Waiting waiting = Waiting::scores;
  std::string scratch = {};  // where spilled features go: a folder
};

/// Takes finished scores, mean over windows of tanh(l / 2) = 2 p - 1: `scores` [s0, s1, s2, n] holds the voxels from
/// `origin` on, of prompts `first_prompt` .. + n. Rows `first` .. `last` along the plan's axis are final (`last` itself
/// only if the volume has it); positions whose lower neighbour row lies in [first, last) can be decided.
using RowSink = std::function<void(const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first,
                                   int64_t last, int64_t first_prompt)>;

/// Blends the windows of one volume, where the context computes: from a device the sink gets copies. Feed
/// every window of windows(), in that order.
class Blender {
 public:
  Blender(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& window, Rounding importance,
          int64_t prompts, BlendPlan plan, RowSink sink);

  const WindowGrid& windows() const { return windows_; }  // the plan's axis outermost

  /// features [1, w0, w1, w2, C] of the whole window (voxels beyond the volume's end are passed over) and the prompts'
  /// mask vectors [N, C] for it. Throws Error when there is no room on disk for features that are to be spilled.
  void add(Features features, const Tensor& masks);

  int64_t scratch_bytes() const { return scratch_bytes_; }  // known from the first window on; 0 where nothing spills

 private:
  struct Kept {
    Window window;
    int64_t cut = 0;    // rows along the axis that are not, or no longer, in `features`
    int64_t place = 0;  // in the scratch file
    Features features;  // values empty where they were spilled
    Tensor masks;
  };
  std::array<int64_t, 3> box(int64_t rows) const;  // the volume's size with `rows` rows along the axis
  void accumulate(const Kept& part, const Tensor& masks, Tensor& scores, int64_t base, int64_t first,
                  int64_t last) const;
  void count(const Window& window, Tensor& weights, int64_t base, int64_t first, int64_t last) const;
  void finish_scores(int64_t until);
  void materialize_features(int64_t until);
  void give_back_rows(int64_t until);
  static void move(Kept& part, Tensor (*to)(const Tensor&));
  void spill(Kept& part);
  std::vector<Kept> fetched_rows(int64_t first, int64_t last) const;
  void leave(const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
             int64_t first_prompt);

  std::array<int64_t, 3> size_, window_;
  int64_t prompts_;
  BlendPlan plan_;
  RowSink sink_;
  WindowGrid windows_;
  bool apart_;  // scores are on a device that computes, not in the CPU's memory
  Tensor importance_;
  int64_t added_ = 0;
  int64_t final_ = 0;    // rows before this one are final and normalised
  int64_t decided_ = 0;  // rows before this one have left
  // Waiting as scores: the rows from base_ on.
  Tensor scores_, weights_;
  int64_t base_ = 0;
  // Waiting as features: windows, and the last final row of every prompt.
  std::vector<Kept> kept_;
  Tensor last_row_;
  // Those that were spilled: one after another, each its rows within the volume.
  std::optional<ScratchFile> scratch_;
  Shape spilled_shape_;  // of every window's values
  DType spilled_dtype_ = DType::f32;
  int64_t scratch_bytes_ = 0, next_place_ = 0;
};

}  // namespace sat
