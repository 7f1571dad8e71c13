// The network over all windows of a prepared volume, and a rehearsal that tells beforehand what it will hold.
// Knows the model's space only: scans, words and files are segmenter.h's.
#pragma once

#include <functional>
#include <numeric>
#include <vector>

#include "sat/io/scans/preprocess.h"
#include "sat/nn/run/blender.h"
#include "sat/nn/sat/sat_model.h"

namespace sat {

/// cut [w0, w1, w2, 1] = a window of the volume [H, W, D] as the network wants it, zeros beyond the volume's end.
void cut_window(const Tensor& cut, const Tensor& volume, const Window& window);
Tensor cut_window(const Tensor& volume, const Window& window, const std::array<int64_t, 3>& size);

/// Where the time of a run went, and what it put on disk.
struct WindowLoop {
  double network_seconds = 0, blend_seconds = 0, sink_seconds = 0;
  int64_t scratch_bytes = 0;
};

/// Feeds every window to the model once and hands finished rows of scores to `sink`. On an accelerator the windows'
/// work is queued, and the next window is cut and uploaded beside it.
///   volume [H, W, D] normalised, given back after the last window is cut when nobody else holds it;
///   queries [N, text_dim].
/// `on_progress(windows done, of how many, fraction of all work)` is called after every layer group, and where features
/// were spilled after every slab of rows.
WindowLoop segment_volume(const SatModel& model, Tensor volume, const ModalityConfig& modality, const Tensor& queries,
                          const BlendPlan& plan, const RowSink& sink,
                          const std::function<void(int64_t, int64_t, double)>& on_progress = {});

/// What a run in the current context will hold, learnt by running it in a dry one with as many threads, the same CPU
/// level and precision.
struct Rehearsal {
  BlendPlan plan;                      // without a scratch folder
  std::vector<int64_t> device_chunks;  // with an accelerator: what its arena is to reserve, for the model and a run
  int64_t windows = 0;
  int64_t device_bytes() const {  // of the chunks together
    return std::accumulate(device_chunks.begin(), device_chunks.end(), int64_t(0));
  }
  int64_t weights_bytes = 0;  // the model alone, where it lies
  int64_t peak_bytes = 0;     // tensors of the whole run: scan, model, volume, windows, masks
  int64_t scratch_bytes = 0;  // on disk
};

/// Chooses the way of blending: of those in memory the one that needs least; where that passes `spill_above` bytes,
/// spilled features if they need less. INT64_MAX: never spilled. With an accelerator: scores if they fit its memory,
/// else features; spilled where these pass `spill_above` on the CPU's side.
/// grid: how the model's voxels lie in the scan; target: the same, or model_space(grid) when masks stay there.
Rehearsal rehearse(const SatConfig& config, const ModalityConfig& modality, int64_t prompts, const ModelGrid& grid,
                   const ModelGrid& target, int64_t spill_above);

/// Peak tensor bytes of loading the model in the current context, and what it holds on the context's accelerator.
int64_t loading_bytes(const SatConfig& config);
int64_t device_weights_bytes(const SatConfig& config);

}  // namespace sat
