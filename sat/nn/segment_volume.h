// The network over all windows of a prepared volume, and a rehearsal that tells beforehand what it will hold.
// Knows the model's space only: scans, words and files are segmenter.h's.
#pragma once

#include <functional>

#include "sat/io/preprocess.h"
#include "sat/nn/blender.h"
#include "sat/nn/sat_model.h"

namespace sat {

/// A window of the volume [H, W, D] as the network wants it: [w0, w1, w2, 1], zeros beyond the volume's end.
Tensor cut_window(const Tensor& volume, const Window& window, const std::array<int64_t, 3>& size);

/// Feeds every window to the model once and hands finished rows of scores to `sink`.
///   volume [H, W, D] normalised; queries [N, text_dim].
/// `on_progress(windows done, of how many, fraction of all work)` is called after every layer group.
void segment_volume(const SatModel& model, const Tensor& volume, const ModalityConfig& modality, const Tensor& queries,
                    BlendPlan plan, const RowSink& sink,
                    const std::function<void(int64_t, int64_t, double)>& on_progress = {});

/// What a run will hold, learnt by running it in a dry context.
struct Rehearsal {
  BlendPlan plan;  // the way of blending that needs least
  int64_t windows = 0;
  int64_t weights_bytes = 0;  // the model alone
  int64_t peak_bytes = 0;     // tensors of the whole run: scan, model, volume, windows, masks
};

/// grid: how the model's voxels lie in the scan; target: the same, or model_space(grid) when masks stay there.
Rehearsal rehearse(const SatConfig& config, const ModalityConfig& modality, int64_t prompts, const ModelGrid& grid,
                   const ModelGrid& target);

/// Peak tensor bytes of loading the model.
int64_t loading_bytes(const SatConfig& config);

}  // namespace sat
