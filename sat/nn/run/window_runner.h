// Private: the network on one window after another. Knows neither scans nor blending (segment_volume.h).
#pragma once

#include <functional>

#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/replay.h"

namespace sat {

/// What blending wants of a window. On a device it is valid until the next window runs.
struct WindowAnswer {
  Features features;  // full resolution
  Tensor masks;       // [N, C]
};

class WindowRunner {
 public:
  /// cut(i, to): writes window i to `to` [1, w0, w1, w2, 1] in the CPU's memory.
  WindowRunner(const SatModel& model, const Tensor& queries, const std::array<int64_t, 3>& window, Prefetch::Make cut,
               int64_t windows);

  /// Windows in order, each once.
  WindowAnswer run(int64_t i, const std::function<void(double)>& on_progress);

 private:
  const SatModel& model_;
  Tensor queries_;
  Prefetch windows_;
  Replay replay_;
  float slope_ = 1;  // of the features
};

}  // namespace sat
