// The window loop and its rehearsal.
#include "sat/nn/run/segment_volume.h"

#include <algorithm>
#include <utility>

#include "sat/io/masks/restore.h"
#include "sat/nn/run/window_runner.h"
#include "sat/tensor/accelerator.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat {

namespace {

constexpr double kNetworkWork = 1000;  // a voxel's share of the network, in prompts' masks; only progress asks

}  // namespace

void cut_window(const Tensor& cut, const Tensor& volume, const Window& window) {
  const Shape& size = cut.shape;
  const int64_t rows = window.end[0] - window.start[0], columns = window.end[1] - window.start[1];
  const int64_t slices = window.end[2] - window.start[2];
  parallel_for(size[0] * size[1], size[1], [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t h = line / size[1], w = line % size[1];
      const int64_t filled = h < rows && w < columns ? slices : 0;
      float* to = cut.data<float>() + line * size[2];
      const float* from = volume.data<float>() +
                          ((window.start[0] + h) * volume.shape[1] + window.start[1] + w) * volume.shape[2] +
                          window.start[2];
      std::copy_n(from, filled, to);
      std::fill(to + filled, to + size[2], 0.f);
    }
  });
}

Tensor cut_window(const Tensor& volume, const Window& window, const std::array<int64_t, 3>& size) {
  const Tensor cut({size[0], size[1], size[2], 1});
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
      model, queries, modality.window,
      [&](int64_t i, const Tensor& to) { cut_window(to, volume, blender.windows()[i]); }, count);
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

namespace {

SatModel imagined_model(const SatConfig& config) {
  return SatModel(Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); }), config);
}

}  // namespace

int64_t loading_bytes(const SatConfig& config) {
  Context context(Context::current().rehearsal());
  UseContext use(context);
  const SatModel model = imagined_model(config);
  return context.memory()->peak_bytes();
}

int64_t device_weights_bytes(const SatConfig& config) {
  Context context(Context::current().rehearsal());
  UseContext use(context);
  const SatModel model = imagined_model(config);
  return context.accelerator() ? context.accelerator()->memory()->peak_bytes() : 0;
}

Rehearsal rehearse(const SatConfig& config, const ModalityConfig& modality, int64_t prompts, const ModelGrid& grid,
                   const ModelGrid& target, int64_t spill_above) {
  const auto& real = Context::current().accelerator();
  const int64_t room_on_device = real ? real->memory()->max_bytes() : 0;
  Context context(Context::current().rehearsal());
  UseContext use(context);
  const auto& memory = context.memory();
  const auto volume = [](const std::array<int64_t, 3>& size) { return Tensor({size[0], size[1], size[2]}); };

  Rehearsal best;
  const SatModel model = imagined_model(config);
  best.weights_bytes = memory->live_bytes();
  const int64_t load_peak = memory->peak_bytes();
  const auto& accelerator = context.accelerator();
  if (accelerator) best.weights_bytes = accelerator->memory()->live_bytes();
  const Tensor queries({prompts, config.text_dim});
  const Tensor scan = volume(grid.scan.size);
  const auto rehearse_way = [&](const BlendPlan& plan) {
    memory->reset_peak();
    if (accelerator) {
      accelerator->memory()->trim();
      accelerator->memory()->reserve(0);
    }
    Rehearsal way;
    way.plan = plan;
    Tensor resampled = volume(grid.resampled.size);
    Tensor voxels = resampled.reshape({resampled.numel()})
                        .slice(0, grid.model.voxels())
                        .reshape({grid.model.size[0], grid.model.size[1], grid.model.size[2]});
    resampled = Tensor();
    BitMasks masks;
    const WindowLoop loop =
        segment_volume(model, std::move(voxels), modality, queries, plan,
                       [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                           int64_t first_prompt) {
                         if (masks.prompts == 0) masks = BitMasks(target.scan.size, prompts);
                         restore_rows(masks, target, scores, origin, plan.axis, first, last, first_prompt);
                       });
    way.peak_bytes = std::max(load_peak, memory->peak_bytes());
    way.scratch_bytes = loop.scratch_bytes;
    if (accelerator) way.device_chunks = accelerator->memory()->chunk_peaks();
    return way;
  };
  const auto take = [&](Rehearsal way) {
    way.weights_bytes = best.weights_bytes;
    best = std::move(way);
  };
  if (accelerator) {
    take(rehearse_way({0, Waiting::scores}));
    if (best.device_bytes() > room_on_device) take(rehearse_way({0, Waiting::features}));
    if (best.plan.waiting == Waiting::features && best.peak_bytes > spill_above) {
      take(rehearse_way({0, Waiting::spilled}));
    }
  } else {
    take(rehearse_way({0, Waiting::scores}));
    const auto try_way = [&](const BlendPlan& plan) {
      Rehearsal way = rehearse_way(plan);
      if (way.peak_bytes < best.peak_bytes) take(std::move(way));
    };
    try_way({0, Waiting::features});
    for (int axis : {1, 2}) {
      for (Waiting waiting : {Waiting::scores, Waiting::features}) try_way({axis, waiting});
    }
    if (best.peak_bytes > spill_above) try_way({0, Waiting::spilled});
  }
  best.windows = WindowGrid(grid.model.size, modality.window).size();
  return best;
}

}  // namespace sat
