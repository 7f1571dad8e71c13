// The window loop and its rehearsal.
#include "sat/nn/segment_volume.h"

#include <algorithm>
#include <utility>

#include "sat/io/restore.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory.h"
#include "sat/tensor/parallel.h"

namespace sat {

Tensor cut_window(const Tensor& volume, const Window& window, const std::array<int64_t, 3>& size) {
  Tensor cut({size[0], size[1], size[2], 1});
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
  return cut;
}

void segment_volume(const SatModel& model, const Tensor& volume, const ModalityConfig& modality, const Tensor& queries,
                    BlendPlan plan, const RowSink& sink,
                    const std::function<void(int64_t, int64_t, double)>& on_progress) {
  const std::array<int64_t, 3> size{volume.shape[0], volume.shape[1], volume.shape[2]};
  const SatConfig& config = model.config();
  Blender blender(size, modality.window, config.importance, queries.shape[0], plan, sink);
  const auto count = int64_t(blender.windows().size());
  for (int64_t i = 0; i < count; ++i) {
    const auto report = [&](double share) {
      if (on_progress) on_progress(i, count, (double(i) + share) / double(count));
    };
    report(0);
    ImageFeatures image = model.look(cut_window(volume, blender.windows()[size_t(i)], modality.window), report);
    const Tensor masks = model.mask_vectors(model.decode(queries, image.memory));
    blender.add(finished(std::exchange(image.per_voxel[0], Features())).select(0), masks);
  }
  if (on_progress) on_progress(count, count, 1);
}

namespace {

ContextOptions dry_options() {
  ContextOptions options;
  options.dry = true;
  return options;
}

SatModel imagined_model(const SatConfig& config) {
  return SatModel(Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); }), config);
}

}  // namespace

int64_t loading_bytes(const SatConfig& config) {
  Context context(dry_options());
  UseContext use(context);
  const SatModel model = imagined_model(config);
  return context.memory()->peak_bytes();
}

Rehearsal rehearse(const SatConfig& config, const ModalityConfig& modality, int64_t prompts, const ModelGrid& grid,
                   const ModelGrid& target) {
  Context context(dry_options());
  UseContext use(context);
  const auto& memory = context.memory();
  const auto volume = [](const std::array<int64_t, 3>& size) { return Tensor({size[0], size[1], size[2]}); };

  Rehearsal best;
  const SatModel model = imagined_model(config);
  best.weights_bytes = memory->live_bytes();
  const int64_t load_peak = memory->peak_bytes();
  const Tensor queries({prompts, config.text_dim});
  const Tensor scan = volume(grid.scan.size), resampled = volume(grid.resampled.size);
  const Tensor voxels = resampled.reshape({resampled.numel()})
                            .slice(0, grid.model.voxels())
                            .reshape({grid.model.size[0], grid.model.size[1], grid.model.size[2]});
  BitMasks masks(target.scan.size, prompts);
  for (int axis = 0; axis < 3; ++axis) {
    for (bool keep_features : {false, true}) {
      memory->reset_peak();
      segment_volume(
          model, voxels, modality, queries, {axis, keep_features},
          [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
              int64_t first_prompt) { restore_rows(masks, target, scores, origin, axis, first, last, first_prompt); });
      const int64_t peak = std::max(load_peak, memory->peak_bytes());
      if (best.peak_bytes == 0 || peak < best.peak_bytes) {
        best.plan = {axis, keep_features};
        best.peak_bytes = peak;
      }
    }
  }
  best.windows = int64_t(sliding_windows(grid.model.size, modality.window).size());
  return best;
}

}  // namespace sat
