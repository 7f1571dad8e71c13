// Private: the network on one window after another, on the CPU or on an accelerator.
// On an accelerator the work of a window is queued at first, recorded at the second window and replayed from then on;
// the next window is cut and uploaded beside it. Knows neither scans nor blending (segment_volume.h).
#pragma once

#include <functional>
#include <memory>

#include "sat/nn/sat/sat_model.h"
#include "sat/tensor/accelerator.h"

namespace sat {

/// What blending wants of a window. On an accelerator it is valid until the next window runs.
struct WindowAnswer {
  Features features;  // full resolution
  Tensor masks;       // [N, C]
};

/// Everything that lives on an accelerator through the loop has to be there before the second window: a recording
/// writes over what it found free.
class WindowRunner {
 public:
  /// cut(i, to): writes window i to `to` [w0, w1, w2, 1] on the CPU.
  using Cut = std::function<void(int64_t i, const Tensor& to)>;
  WindowRunner(const SatModel& model, const Tensor& queries, const std::array<int64_t, 3>& window, Cut cut,
               int64_t windows);

  /// Windows in order, each once.
  WindowAnswer run(int64_t i, const std::function<void(double)>& on_progress);

 private:
  WindowAnswer imagine();
  WindowAnswer compute(Tensor window, const std::function<void(double)>& on_progress) const;
  void upload(int64_t i);
  void record();

  const SatModel& model_;
  Tensor queries_;
  Shape window_;
  Cut cut_;
  int64_t windows_;
  // In a rehearsal on the CPU: what one window holds while it is computed, and an answer.
  int64_t network_bytes_ = 0;
  WindowAnswer pattern_;
  // On an accelerator.
  Tensor staged_, next_, input_;
  std::unique_ptr<Accelerator::Recording> recording_;
  WindowAnswer recorded_;
  int64_t live_bytes_ = 0;  // on the device when the recording was made
};

}  // namespace sat
