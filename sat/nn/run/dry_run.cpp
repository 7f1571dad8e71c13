// Dry runs: the model, the window loop in each way of blending, and the way that is taken.
#include "sat/nn/run/dry_run.h"

#include <algorithm>
#include <utility>

#include "sat/io/masks/restore.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

SatModel virtual_model(const SatConfig& config) {
  return SatModel(Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); }), config);
}

Tensor volume_of(const std::array<int64_t, 3>& size) { return Tensor({size[0], size[1], size[2]}); }

/// What one way of blending holds, beside the model.
struct Way {
  BlendPlan plan;
  int64_t peak_bytes = 0;  // of the CPU's tensors: scan, volume, windows, masks
  int64_t device_bytes = 0;
  int64_t scratch_bytes = 0;
};

/// The grid of a run's masks.
ModelGrid target_of(const ModelGrid& grid, const RunOptions& run) {
  return run.space == Space::scan ? grid : model_space(grid);
}

Way dry_run(const SatModel& model, const ModalityConfig& modality, const ModelGrid& grid, const RunOptions& run,
            int64_t prompts, const BlendPlan& plan) {
  Context context(Context::current().dry_run());
  UseContext use(context);
  if (const auto device = context.planned_memory()) device->reserve(0);
  const Tensor queries({prompts, model.config().text_dim});
  const Tensor scan = volume_of(grid.scan.size);
  Tensor resampled = volume_of(grid.resampled.size);
  Tensor voxels = resampled.reshape({resampled.numel()})
                      .slice(0, grid.model.voxels())
                      .reshape({grid.model.size[0], grid.model.size[1], grid.model.size[2]});
  resampled = Tensor();
  const ModelGrid target = target_of(grid, run), of_model = model_space(grid);
  BitMasks masks, model_masks;
  const RowSink restore = [&](const Tensor& scores, const std::array<int64_t, 3>& origin, int64_t first, int64_t last,
                              int64_t first_prompt) {
    if (masks.prompts == 0) masks = BitMasks(target.scan.size, prompts);
    restore_rows(masks, target, scores, origin, plan.axis, first, last, first_prompt);
    if (!run.model_masks) return;
    if (model_masks.prompts == 0) model_masks = BitMasks(of_model.scan.size, prompts);
    restore_rows(model_masks, of_model, scores, origin, plan.axis, first, last, first_prompt);
  };
  const WindowLoop loop = segment_volume(model, std::move(voxels), modality, queries, plan, restore);
  Way way;
  way.plan = plan;
  way.peak_bytes = context.memory()->peak_bytes();
  way.scratch_bytes = loop.scratch_bytes;
  if (const auto device = context.planned_memory()) way.device_bytes = device->peak_bytes();
  return way;
}

/// Of the ways in memory the one that needs least; where that passes `spill_above` bytes, spilled features if they need
/// less. On a device: scores if they fit its memory, else features; spilled where these pass `spill_above` on the CPU's
/// side.
template <class TryWay>
Way best_way(const TryWay& try_way, int64_t room_on_device, int64_t spill_above) {
  Way best = try_way(BlendPlan{0, Waiting::scores});
  if (Context::current().planned_memory()) {
    if (best.device_bytes > room_on_device) best = try_way(BlendPlan{0, Waiting::features});
    if (best.plan.waiting == Waiting::features && best.peak_bytes > spill_above) {
      best = try_way(BlendPlan{0, Waiting::spilled});
    }
    return best;
  }
  const auto take_less = [&](const BlendPlan& plan) {
    Way way = try_way(plan);
    if (way.peak_bytes < best.peak_bytes) best = std::move(way);
  };
  take_less({0, Waiting::features});
  for (int axis : {1, 2}) {
    for (Waiting waiting : {Waiting::scores, Waiting::features}) take_less({axis, waiting});
  }
  if (best.peak_bytes > spill_above) take_less({0, Waiting::spilled});
  return best;
}

}  // namespace

PreprocessOptions preprocess_options(const SatConfig& config, const RunOptions& run) {
  const ModalityConfig& modality = config.modality(run.modality);
  return {run.orientation.empty() ? config.orientation : run.orientation, modality.spacing_mm, modality.normalisation};
}

ModelBytes plan_model(const SatConfig& config) {
  return dry_built([&] { return virtual_model(config); });
}

SegmentationPlan plan_segmentation(const SatModel& model, const ModelBytes& held, const ModelGrid& grid,
                                   const RunOptions& run, int64_t prompts, const PlanLimits& limits) {
  SAT_CHECK(prompts > 0, "there are no prompts");
  const SatConfig& config = model.config();
  const ModalityConfig& modality = config.modality(run.modality);
  const int64_t kept_queries = limits.text_bytes > 0 ? prompts * config.text_dim * int64_t(sizeof(float)) : 0;
  const int64_t most =
      (limits.max_ram > 0 ? limits.max_ram : limits.spill_above) - kProgramBytes - kept_queries - held.on_host;
  const auto device = Context::current().planned_memory();
  const int64_t room = device ? device->max_bytes() : 0;
  const auto try_way = [&](const BlendPlan& plan) {
    Way way = dry_run(model, modality, grid, run, prompts, plan);
    way.peak_bytes = std::max(way.peak_bytes, held.loading - held.on_host);  // less than that saves nothing
    return way;
  };
  const Way way = best_way(try_way, room > 0 ? room : INT64_MAX, limits.may_spill ? most : INT64_MAX);

  SegmentationPlan plan;
  plan.windows = WindowGrid(grid.model.size, modality.window).size();
  plan.window = modality.window;
  plan.grid = grid.resampled.size;
  plan.weights_bytes = held.weights();
  // Prompts are encoded while the scan and the model are there and nothing else is.
  const int64_t scan_bytes = grid.scan.voxels() * int64_t(sizeof(float));
  const int64_t in_run = held.on_host + std::max(way.peak_bytes, scan_bytes + limits.text_bytes);
  plan.tensor_bytes = in_run + kept_queries;
  plan.process_bytes = plan.tensor_bytes + kProgramBytes;
  const int64_t probability_bytes = target_of(grid, run).scan.voxels() * prompts * int64_t(sizeof(float));
  if (run.probabilities_on_disk) {
    plan.probability_bytes = probability_bytes;
  } else if (run.probabilities) {
    plan.process_bytes += probability_bytes;
  }
  plan.slow_axis = way.plan.axis;
  plan.waiting = way.plan.waiting;
  plan.scratch_bytes = way.scratch_bytes;
  if (device) {
    const int64_t fixed = Context::current().device_fixed_bytes();
    plan.device_run_bytes = way.device_bytes;
    plan.device_bytes = held.on_device + way.device_bytes + fixed;
    if (room > 0 && way.device_bytes > room) {
      fail_as<MemoryError>("this run needs ", in_bytes(plan.device_bytes), " of ", Context::current().device_name(),
                           ", the limit is ", in_bytes(held.on_device + room + fixed));
    }
  }
  if (limits.max_ram > 0 && plan.process_bytes > limits.max_ram) {
    fail_as<MemoryError>("this run needs ", in_bytes(plan.process_bytes), " of memory, the limit is ",
                         in_bytes(limits.max_ram));
  }
  return plan;
}

SegmentationPlan plan_segmentation(const SatConfig& config, const Geometry& scan, const RunOptions& run,
                                   int64_t prompts, const PlanLimits& limits) {
  const ModelBytes held = plan_model(config);
  Context loading(Context::current().dry_run());
  const SatModel model = [&] {
    UseContext use(loading);
    return virtual_model(config);
  }();
  Context context(loading.beside(held.on_device));
  UseContext use(context);
  return plan_segmentation(model, held, plan_grid(scan, preprocess_options(config, run)), run, prompts, limits);
}

}  // namespace sat
