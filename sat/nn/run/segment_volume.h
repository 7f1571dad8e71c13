// Private. The network over all windows of a prepared volume.
// Knows the model's space only: scans, words and files are session.h's, and what a run will hold is plan.h's.
#pragma once

#include <functional>

#include "sat/io/scans/preprocess.h"
#include "sat/nn/run/blender.h"
#include "sat/nn/sat/sat_model.h"

namespace sat {

/// cut [1, w0, w1, w2, 1] = a window of the volume [H, W, D] as the network wants it, zeros beyond the volume's end.
void cut_window(Tensor& cut, const Tensor& volume, const Window& window);
Tensor cut_window(const Tensor& volume, const Window& window, const std::array<int64_t, 3>& size);

/// Where the time of a run went, and what it put on disk.
struct WindowLoop {
  double network_seconds = 0, blend_seconds = 0, sink_seconds = 0;
  int64_t scratch_bytes = 0;
};

/// Feeds every window to the model once and hands finished rows of scores to `sink`. On a device the windows' work
/// is queued, and the next window is cut and uploaded beside it.
///   volume [H, W, D] normalised, given back after the last window is cut when nobody else holds it;
///   queries [N, text_dim].
/// `on_progress(windows done, of how many, fraction of all work)` is called after every layer group, and where features
/// were spilled after every slab of rows.
WindowLoop segment_volume(const SatModel& model, Tensor volume, const ModalityConfig& modality, const Tensor& queries,
                          const BlendPlan& plan, const RowSink& sink,
                          const std::function<void(int64_t, int64_t, double)>& on_progress = {});

}  // namespace sat
