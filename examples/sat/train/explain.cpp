// sat train --explain: what a run would do, from the config, the lists and the headers of scans.
#include <algorithm>
#include <cstdio>
#include <map>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/output.h"
#include "examples/sat/output/progress.h"
#include "examples/sat/train/knowledge/knowledge_run.h"
#include "examples/sat/train/segmentation_run.h"
#include "sat/io/nifti/nifti.h"
#include "sat/io/words/text.h"
#include "sat/nn/run/dry_run.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"

namespace sat::cli {

namespace {

constexpr int64_t kTimedSide = 64;  // voxels along the longer sides of the larger crop that a step is timed with

void row(const char* name, const std::string& text) {
  char start[32];
  std::snprintf(start, sizeof start, "%-14s", name);
  print_line(start + text);
}

std::string count(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = int64_t(digits.size()) - 3; at > 0; at -= 3) digits.insert(size_t(at), ",");
  return digits;
}

std::string mebibytes(int64_t bytes) { return count((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

std::string times(const std::array<int64_t, 3>& size) {
  return std::to_string(size[0]) + " x " + std::to_string(size[1]) + " x " + std::to_string(size[2]);
}

/// "1.4 s", "12 min", "3.5 h", "11 days"
std::string duration(double seconds) {
  if (seconds < 100) return significant(seconds, 3) + " s";
  if (seconds < 5400) return significant(seconds / 60, 3) + " min";
  if (seconds < 172800) return significant(seconds / 3600, 3) + " h";
  return significant(seconds / 86400, 3) + " days";
}

/// Upper bounds of the sizes of cases that are validated with: scans before they are cropped. Converted ones say
/// nothing before they are read.
void add_validation(SegmentationSizes& sizes, const SegmentationFiles& files, const TrainConfig& config) {
  if (config.validation.every == 0) return;
  for (const LabelledCase& one : files.data.validation) {
    if (one.converted) continue;
    RunOptions run;
    run.modality = one.modality;
    run.orientation = one.orientation;
    const ModelGrid grid = plan_grid(read_nifti_header(one.image).geometry, preprocess_options(files.network, run));
    for (size_t axis = 0; axis < 3; ++axis) {
      sizes.validation[axis] = std::max(sizes.validation[axis], grid.resampled.size[axis]);
    }
    sizes.validation_prompts = std::max(sizes.validation_prompts, int64_t(one.structures.size()));
    sizes.validation_modality = one.modality;
  }
}

/// By the first two steps of their names: how many tensors and numbers learn, and how many keep their values.
void print_parameters(const SegmentationFiles& files, const TrainConfig& config) {
  struct Part {
    int64_t learnt = 0, frozen = 0;
  };
  const ParameterGroups groups(config.groups);
  std::map<std::string, Part> parts;
  const auto add = [&](const std::string& name, int64_t numbers, bool learns) {
    const size_t dot = name.find('.'), second = name.find('.', dot + 1);
    const bool deep = name.compare(0, dot, "backbone") == 0;
    Part& part = parts[name.substr(0, deep ? second : dot)];
    (learns ? part.learnt : part.frozen) += numbers;
  };
  const Weights first = first_weights(files, config);
  for (const Weights::Entry& entry : first.entries()) add(entry.name, entry.shape.numel(), groups.learns(entry.name));
  add(kModalityTable, files.modality_numbers, config.text.train_modality && groups.learns(kModalityTable));
  for (const auto& [name, part] : parts) {
    row("", name + ": " + count(part.learnt) + " learn" +
                (part.frozen > 0 ? ", " + count(part.frozen) + " keep their values" : ""));
  }
}

/// Seconds of a step, from two with smaller crops: a batch takes what does not depend on its voxels (the query decoder,
/// weights to be packed), and a time a voxel.
double timed_step(const SegmentationFiles& files, const TrainConfig& config, SegmentationStepOptions options) {
  const int64_t stride = files.network.total_stride(), width = files.network.text_dim;
  const SegmentationStep step(files.network, first_weights(files, config), ParameterGroups(config.groups),
                              {{"a"}, zeros({1, width}), zeros({4, width}), config.text.train_modality}, options);
  NamedTensors gradients;
  const auto seconds = [&](const std::array<int64_t, 3>& crop) {
    TrainingSample sample = virtual_sample(crop, config.max_queries);
    sample.image = Tensor(sample.image.shape);  // not constant: what a norm makes of a constant has no end
    for (int64_t i = 0; i < sample.image.numel(); ++i) sample.image.data<float>()[i] = float(i * 37 % 101) / 50 - 1;
    sample.masks = zeros(sample.masks.shape, DType::u8);
    BatchReport report;
    profile::Stopwatch watch;
    gradients = step.gradients({std::move(sample)}, 0, report);
    return watch.lap();
  };
  const auto crop_of = [&](int64_t side) {
    std::array<int64_t, 3> crop = config.crop;
    for (int64_t& size : crop) size = std::min(size, divide_up(side, stride) * stride);
    return crop;
  };
  const auto voxels = [](const std::array<int64_t, 3>& size) { return double(size[0] * size[1] * size[2]); };
  const std::array<int64_t, 3> small = crop_of(kTimedSide / 2), large = crop_of(kTimedSide);
  seconds(large);  // finds memory
  const double of_large = seconds(large), of_small = seconds(small), more = voxels(large) - voxels(small);
  const double a_voxel = more > 0 ? std::max(of_large - of_small, 0.0) / more : 0;
  const double batch = of_large + a_voxel * (voxels(config.crop) - voxels(large));

  Optimiser optimiser(config.optimiser, ParameterGroups(config.groups));
  optimiser.step(step.parameters(), gradients, 0);  // makes moments
  profile::Stopwatch watch;
  optimiser.step(step.parameters(), gradients, 0);
  return batch * double(config.batch * config.accumulation) + watch.lap();
}

std::string schedule_of(const RateStage& stage) {
  return count(stage.steps) + " steps, " + count(stage.warm_up) + " of them warm-up, rate " +
         significant(stage.rate, 4);
}

}  // namespace

int explain(const TrainRequest& request) {
  TrainConfig config = read_train_config(request.config);
  if (request.seed) config.seed = uint64_t(*request.seed);
  ContextOptions context_options;
  context_options.threads = request.threads;
  context_options.cpu = request.cpu;
  context_options.precision = config.precision;
  context_options.cancelled = interrupted;
  Context context(context_options);
  const UseContext use(context);
  ProgressView view(request.quiet);
  if (config.knowledge) return explain_knowledge(config, request, view);
  const SegmentationFiles files = open_files(config, [&](const std::string& text) { view.line(text); });

  row("network", files.network.architecture + ", " +
                     (config.model.init.empty() && config.model.atlas.empty()
                          ? "random weights"
                          : "from " + (config.model.init.empty() ? config.model.atlas : config.model.init)));
  print_parameters(files, config);
  row("data", count(int64_t(files.data.train.size())) + " cases to learn from, " + count(int64_t(files.names.size())) +
                  " structures, " + count(int64_t(files.left_out.size())) + " cases left out");
  for (const DatasetCount& one : count_datasets(files, config)) {
    row("", one.name + ": " + count(one.cases) + " cases, " + count(one.structures) + " structures, " +
                significant(100 * one.weight, 3) + " % of the samples");
  }
  row("validation", config.validation.every == 0 || files.data.validation.empty()
                        ? "none"
                        : count(std::min(config.validation.cases, int64_t(files.data.validation.size()))) + " of " +
                              count(int64_t(files.data.validation.size())) + " cases, every " +
                              count(config.validation.every) + " steps");
  row("step", count(config.batch) + " crops of " + times(config.crop) + " voxels with up to " +
                  count(config.max_queries) + " structures" +
                  (config.accumulation > 1 ? ", " + count(config.accumulation) + " times" : ""));
  for (const RateStage& stage : config.stages) row("schedule", schedule_of(stage));

  SegmentationSizes sizes = sizes_of(files, config);
  add_validation(sizes, files, config);
  const int64_t sample =
      config.crop[0] * config.crop[1] * config.crop[2] * (int64_t(sizeof(float)) + divide_up(config.max_queries, 8));
  const SegmentationTrainingPlan plan =
      plan_training(files.network, ParameterGroups(config.groups), step_options(config), config.optimiser, sizes,
                    (2 * config.batch + config.data.workers) * 2 * sample, request.max_ram);
  row("memory", mebibytes(plan.process_bytes()) + ": " + mebibytes(plan.state_bytes) + " parameters and moments, " +
                    mebibytes(plan.step_bytes) + " at most in a step" +
                    (plan.validation_bytes > 0 ? ", " + mebibytes(plan.validation_bytes) + " while validating" : "") +
                    (plan.recomputed_stages > 0
                         ? "; " + count(plan.recomputed_stages) + " stages are computed again in the backward pass"
                         : ""));
  SegmentationStepOptions options = step_options(config);
  options.recomputed_stages = plan.recomputed_stages;
  const double seconds = timed_step(files, config, options);
  const int64_t steps = RateSchedule(config.stages).steps();
  row("time", "about " + duration(seconds) + " a step, " + duration(seconds * double(steps)) + " for " + count(steps) +
                  " steps, beside validation (from steps on smaller crops)");
  return kDone;
}

}  // namespace sat::cli
