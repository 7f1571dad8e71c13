// The loop over the windows of a volume.
#include "sat/nn/run/segment_volume.h"

#include <algorithm>
#include <utility>

#include "sat/tensor/context.h"
#include "sat/tensor/device/replay.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr double kNetworkWork = 1000;  // a voxel's share of the network, in prompts' masks; only progress asks

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

WindowRunner::WindowRunner(const SatModel& model, const Tensor& queries, const std::array<int64_t, 3>& window,
                           Prefetch::Make cut, int64_t windows)
    : model_(model),
      queries_(to_compute_device(queries)),
      windows_({1, window[0], window[1], window[2], 1}, windows, std::move(cut)) {}

WindowAnswer WindowRunner::run(int64_t i, const std::function<void(double)>& on_progress) {
  const auto network = [&](Tensor window) -> std::vector<Tensor> {
    ImageFeatures image = model_.encode_image(std::move(window), on_progress);
    const Tensor masks = model_.mask_vectors(model_.decode(queries_, image.memory));
    Features& voxels = image.per_voxel[0];
    slope_ = voxels.slope;
    return {std::exchange(voxels.values, Tensor()), voxels.center, voxels.factor, voxels.shift, select(masks, 0)};
  };
  std::vector<Tensor> of = replay_.run([&] { return windows_.take(i); }, network);
  windows_.bring_next(i);
  return {{std::move(of[0]), of[1], of[2], of[3], slope_, {}}, of[4]};
}

}  // namespace

void cut_window(Tensor& cut, const Tensor& volume, const Window& window) {
  const int64_t W = cut.shape[2], D = cut.shape[3];
  const int64_t rows = window.end[0] - window.start[0], columns = window.end[1] - window.start[1];
  const int64_t slices = window.end[2] - window.start[2];
  float* values = cut.address<float>();
  const float* scan = volume.address<float>();
  parallel_for(cut.shape[1] * W, W, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t h = line / W, w = line % W;
      const int64_t filled = h < rows && w < columns ? slices : 0;
      float* to = values + line * D;
      const float* from =
          scan + ((window.start[0] + h) * volume.shape[1] + window.start[1] + w) * volume.shape[2] + window.start[2];
      std::copy_n(from, filled, to);
      std::fill(to + filled, to + D, 0.f);
    }
  });
}

Tensor cut_window(const Tensor& volume, const Window& window, const std::array<int64_t, 3>& size) {
  Tensor cut({1, size[0], size[1], size[2], 1});
  cut_window(cut, volume, window);
  return cut;
}

WindowLoop segment_volume(const SatModel& model, Tensor volume, const ModalityConfig& modality, const Tensor& queries,
                          const BlendPlan& plan, const RowSink& sink,
                          const std::function<void(int64_t, int64_t, double)>& on_progress) {
  const std::array<int64_t, 3> size{volume.shape[0], volume.shape[1], volume.shape[2]};
  const SatConfig& config = model.config();
  const int64_t prompts = queries.shape[0];
  const bool rows_last = plan.waiting == Waiting::spilled;
  const double network_share = rows_last ? kNetworkWork / (kNetworkWork + double(prompts)) : 1;
  int64_t count = 0;
  WindowLoop spent;
  const auto timed_sink = [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                              int64_t first_prompt) {
    profile::Stopwatch watch;
    sink(scores, origin, first, last, first_prompt);
    spent.sink_seconds += watch.lap();
    if (!on_progress || !rows_last || first_prompt + scores.shape[3] < prompts) return;
    const double done = double(last) / double(size[size_t(plan.axis)]);
    on_progress(count - 1, count, network_share + (1 - network_share) * done);
  };
  Blender blender(size, modality.window, config.importance, prompts, plan, timed_sink);
  count = blender.windows().size();
  WindowRunner runner(
      model, queries, modality.window, [&](int64_t i, Tensor& to) { cut_window(to, volume, blender.windows()[i]); },
      count);
  profile::Stopwatch watch;
  for (int64_t i = 0; i < count; ++i) {
    Context::current().stop_if_cancelled();
    const auto report = [&](double share) {
      if (on_progress) on_progress(i, count, network_share * (double(i) + share) / double(count));
    };
    report(0);
    WindowAnswer answer = runner.run(i, report);
    if (i + 1 == count) volume = Tensor();
    spent.network_seconds += watch.lap();
    blender.add(std::move(answer.features), answer.masks);
    spent.blend_seconds += watch.lap();
  }
  spent.blend_seconds -= spent.sink_seconds;
  spent.scratch_bytes = blender.scratch_bytes();
  if (on_progress) on_progress(count, count, 1);
  return spent;
}

}  // namespace sat
