// One window's features and mask vectors.
#include "sat/nn/run/window_runner.h"

#include <utility>

namespace sat {

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

}  // namespace sat
