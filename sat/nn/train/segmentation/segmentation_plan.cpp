// The same code with virtual tensors.
#include "sat/nn/train/segmentation/segmentation_plan.h"

#include <algorithm>
#include <map>

#include "sat/nn/loading.h"
#include "sat/nn/run/plan.h"
#include "sat/nn/run/segment_volume.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

Weights virtual_weights() {
  return Weights::made([](const std::string&, const Shape& shape) { return Tensor(shape); });
}

TrainingQueries virtual_queries(const SatConfig& config, int64_t names) {
  std::vector<std::string> all;
  for (int64_t i = 0; i < names; ++i) all.push_back("structure " + std::to_string(i));
  return TrainingQueries(all, Tensor({names, config.text_dim}), Tensor({5, config.text_dim}), true);
}

/// A step with `stages` recomputed: peak and state go into the plan.
void rehearse_step(SegmentationTrainingPlan& plan, const SatConfig& config, const ParameterGroups& groups,
                   SegmentationStepOptions options, const OptimiserOptions& optimiser_options,
                   const SegmentationSizes& sizes) {
  options.recomputed_stages = plan.recomputed_stages;
  Context context(Context::current().dry_run());
  const UseContext use(context);
  const SegmentationStep step(config, virtual_weights(), groups, virtual_queries(config, sizes.names), options);
  Optimiser optimiser(optimiser_options, groups);
  NamedTensors average, sum;
  plan.learnt = plan.frozen = 0;
  for (const auto& [name, parameter] : step.parameters()) {
    const bool learns = groups.learns(name);
    (learns ? plan.learnt : plan.frozen) += parameter.numel();
    if (learns && sizes.average) average[name] = parameter.clone();
  }
  for (int round = 0; round < 2; ++round) {  // the second one with all moments there
    for (int64_t part = 0; part < sizes.accumulation; ++part) {
      BatchReport report;
      const std::vector<TrainingSample> samples(size_t(sizes.batch), virtual_sample(sizes.crop, sizes.prompts));
      add_gradients(sum, step.gradients(samples, 0, report));
    }
    optimiser.step(step.parameters(), sum, 1e-4);
    sum.clear();
  }
  plan.state_bytes = context.memory()->live_bytes();
  plan.step_bytes = context.memory()->peak_bytes();
}

int64_t validation_peak(const SatConfig& config, const SegmentationSizes& sizes) {
  Context context(Context::current().dry_run());
  const UseContext use(context);
  const SatModel model(virtual_weights(), config);
  const std::array<int64_t, 3>& size = sizes.validation;
  const Tensor queries({sizes.validation_prompts, config.text_dim});
  segment_volume(model, Tensor({size[0], size[1], size[2]}), config.modality(sizes.validation_modality), queries,
                 BlendPlan(), [](const Tensor&, const std::array<int64_t, 3>&, int64_t, int64_t, int64_t) {});
  return context.memory()->peak_bytes();
}

}  // namespace

int64_t SegmentationTrainingPlan::process_bytes() const {
  return kProgramBytes + loader_bytes + std::max(step_bytes, validation_bytes);
}

SegmentationTrainingPlan plan_training(const SatConfig& config, const ParameterGroups& groups,
                                       const SegmentationStepOptions& options, const OptimiserOptions& optimiser,
                                       const SegmentationSizes& sizes, int64_t loader_bytes, int64_t max_ram) {
  SegmentationTrainingPlan plan;
  plan.loader_bytes = loader_bytes;
  const int64_t validation = sizes.validation_prompts > 0 ? validation_peak(config, sizes) : 0;
  for (;; ++plan.recomputed_stages) {
    rehearse_step(plan, config, groups, options, optimiser, sizes);
    plan.validation_bytes = validation > 0 ? plan.state_bytes + validation : 0;
    if (max_ram == 0 || plan.process_bytes() <= max_ram) return plan;
    const bool more_helps = plan.step_bytes > plan.validation_bytes && plan.recomputed_stages < config.stages();
    if (!more_helps) {
      fail_as<MemoryError>("this training needs ", in_bytes(plan.process_bytes()), " of memory, the limit is ",
                           in_bytes(max_ram), "; a smaller crop, batch or number of queries needs less");
    }
  }
}

}  // namespace sat
