// From files to a task.
#include "examples/sat/train/segmentation_run.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "examples/sat/interrupt.h"
#include "sat/io/files/file.h"
#include "sat/nn/run/dry_run.h"
#include "sat/nn/sat/model_file.h"
#include "sat/nn/text/text_file.h"
#include "sat/nn/train/segmentation/initial_weights.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestConfig = 1 << 20;
constexpr size_t kNamesAtOnce = 16;  // encoded together

Heads heads_of(const TrainConfig& config) { return config.deep_supervision ? Heads::all : Heads::final_only; }

SamplingTable sampling_of(const TrainConfig& config) {
  return config.data.sampling.is_null() ? SamplingTable() : SamplingTable(config.data.sampling, "\"data.sampling\"");
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

/// The network's sizes, and what it starts from.
void open_network(SegmentationFiles& files, const TrainConfig& config) {
  const ModelPart& part = config.model;
  if (!part.architecture.empty()) files.network = published_config(part.architecture);
  if (!part.config.empty()) {
    files.network = config_from_json(Json::parse(read_file(part.config, kLargestConfig), part.config), part.config);
  }
  if (!part.init.empty()) {
    const ModelFile model = open_model_file(part.init, part.config);
    SAT_CHECK(part.architecture.empty() || model.config.channels == files.network.channels, part.init, ": holds ",
              model.config.architecture, ", the config names ", part.architecture);
    const std::vector<int64_t> heads = files.network.mid_mask_hidden;  // a file for inference has none
    files.network = model.config;
    if (files.network.mid_mask_hidden.empty()) files.network.mid_mask_hidden = heads;
    files.init = model.weights;
  }
  if (!part.atlas.empty()) files.init = open_checkpoint(part.atlas).weights;
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(config.crop[axis] % files.network.total_stride() == 0, "\"crop\" has ", config.crop[axis],
              " voxels on axis ", axis, "; ", files.network.architecture, " takes multiples of ",
              files.network.total_stride());
  }
}

void open_data(SegmentationFiles& files, const TrainConfig& config,
               const std::function<void(const std::string&)>& warn) {
  DatasetOptions options;
  options.validation_fraction = config.data.validation_fraction;
  options.seed = config.seed;
  if (config.data.skip_problems) {
    options.on_problem = [&](const CaseProblem& problem) {
      files.left_out.push_back(problem);
      warn("left out: " + problem.reason);
    };
  }
  const auto append = [](std::vector<LabelledCase>& to, const std::vector<LabelledCase>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (const std::string& path : config.data.train) {
    const LabelledData data = read_dataset(path, options);
    append(files.data.train, data.train);
    append(files.data.validation, data.validation);
  }
  options.validation_fraction = -1;
  for (const std::string& path : config.data.validation) {
    const LabelledData data = read_dataset(path, options);
    append(files.data.validation, data.train);
    append(files.data.validation, data.validation);
  }
  SAT_CHECK(!files.data.train.empty(), "the lists of \"data.train\" hold no case to learn from");
  std::set<std::string> names;
  for (const auto* cases : {&files.data.train, &files.data.validation}) {
    for (const LabelledCase& one : *cases) {
      for (const StructureSource& structure : one.structures) names.insert(structure.name);
      files.network.modality(one.modality);  // throws for one that the network was not made for
    }
  }
  files.names.assign(names.begin(), names.end());
}

/// Cases that validation runs on: evenly chosen from the list.
std::vector<LabelledCase> validation_cases(const SegmentationFiles& files, const TrainConfig& config) {
  if (config.validation.every == 0) return {};
  const auto count = int64_t(files.data.validation.size()), some = std::min(count, config.validation.cases);
  std::vector<LabelledCase> chosen;
  for (int64_t i = 0; i < some; ++i) chosen.push_back(files.data.validation[size_t(i * count / some)]);
  return chosen;
}

/// [names, C] before the modality is added, and the modality table.
struct TextSide {
  Tensor rows, table;
};

TextSide text_side(SegmentationFiles& files, const TrainConfig& config, ProgressView& view) {
  if (!config.text.bank.empty()) {
    EmbeddingBank plain = files.bank;
    plain.modality_embed = zeros(plain.modality_embed.shape);
    return {bank_queries(plain, files.names, "ct"), files.bank.modality_embed.clone()};
  }
  const TextEncoder encoder = open_text_encoder(config.text.encoder, config.text.vocabulary);
  TextSide side{Tensor({int64_t(files.names.size()), encoder.width()}), encoder.modality_embed().clone()};
  for (size_t first = 0; first < files.names.size(); first += kNamesAtOnce) {
    view.count("encoding names", "names", int64_t(first), int64_t(files.names.size()));
    const size_t end = std::min(first + kNamesAtOnce, files.names.size());
    copy_into(side.rows, int64_t(first),
              encoder.project({files.names.begin() + int64_t(first), files.names.begin() + int64_t(end)}));
  }
  files.bank = {files.names, side.rows, side.table, encoder.config(), files.text_identity, "", {}, config.text.encoder};
  return side;
}

}  // namespace

SegmentationFiles open_files(const TrainConfig& config, const std::function<void(const std::string&)>& warn) {
  SegmentationFiles files;
  open_network(files, config);
  open_data(files, config, warn);
  if (!config.text.bank.empty()) {
    files.bank = read_bank(config.text.bank);
    files.text_identity = files.bank.text_identity;
    files.modality_numbers = files.bank.modality_embed.numel();
    bank_queries(files.bank, files.names, files.data.train[0].modality);  // refuses, with suggestions
  } else {
    const TextFile text = open_text_file({config.text.encoder});
    files.text_identity = text.identity;
    files.modality_numbers = (text.weights / "modality_embed").shape_of("weight").numel();
  }
  return files;
}

std::vector<DatasetCount> count_datasets(const SegmentationFiles& files, const TrainConfig& config) {
  const SamplingTable table = sampling_of(config);
  std::map<std::string, DatasetCount> by_name;
  std::map<std::string, std::set<std::string>> structures;
  for (const LabelledCase& one : files.data.train) {
    DatasetCount& count = by_name[one.dataset];
    count.name = one.dataset;
    ++count.cases;
    for (const StructureSource& structure : one.structures) structures[one.dataset].insert(structure.name);
  }
  std::vector<DatasetCount> counts;
  double all = 0;
  for (auto& [name, count] : by_name) {
    count.structures = int64_t(structures[name].size());
    count.weight = table.of(name).sampling_weight * std::sqrt(double(count.cases));
    all += count.weight;
    counts.push_back(count);
  }
  for (DatasetCount& count : counts) count.weight /= all;
  return counts;
}

Weights first_weights(const SegmentationFiles& files, const TrainConfig& config) {
  const std::map<std::string, Shape> shapes = needed_tensors(files.network, heads_of(config));
  const Weights random = initial_weights(shapes, config.seed);
  if (!files.init) return random;
  const Weights init = *files.init;
  const bool atlas = !config.model.atlas.empty();
  const auto name_there = [atlas](const std::string& name) {
    if (!atlas) return name;
    if (starts_with(name, "backbone.encoder.")) return "atlas_tower." + name.substr(9);
    return starts_with(name, "projection_layer.") ? "atlas_tower." + name : "";
  };
  std::vector<Weights::Entry> entries = random.entries();
  for (Weights::Entry& entry : entries) {
    const std::string there = name_there(entry.name);
    const bool of_inner_head = starts_with(entry.name, "mid_mask_embed_proj.");
    if (there.empty() || (of_inner_head && !init.has(there))) continue;
    entry.load = [init, there, shape = entry.shape] { return init.get(there, shape); };
  }
  return Weights(std::move(entries), init.source());
}

SegmentationStepOptions step_options(const TrainConfig& config) {
  return {config.deep_supervision, float(config.dropout), 0};
}

SegmentationSizes sizes_of(const SegmentationFiles& files, const TrainConfig& config) {
  SegmentationSizes sizes;
  sizes.crop = config.crop;
  sizes.batch = config.batch;
  sizes.prompts = config.max_queries;
  sizes.accumulation = config.accumulation;
  sizes.names = int64_t(files.names.size());
  sizes.average = config.average > 0;
  return sizes;
}

SegmentationRun::SegmentationRun(const TrainConfig& config, SegmentationFiles files, const std::string& folder,
                                 const TrainingCheckpoint* resumed, int64_t most_bytes, ProgressView& view)
    : config_(config), files_(std::move(files)) {
  const SatConfig& network = files_.network;
  cache_.emplace(config.data.cache.empty() ? folder + "/cache" : config.data.cache,
                 [network](const std::string& modality) {
                   RunOptions run;
                   run.modality = modality;
                   return preprocess_options(network, run);
                 });
  OnCaseProblem on_problem;
  if (config.data.skip_problems) {
    on_problem = [&](const CaseProblem& problem) {
      files_.left_out.push_back(problem);
      view.line("left out: " + problem.reason);
    };
  }
  const auto prepared = [&](const char* what, const std::vector<LabelledCase>& cases) {
    return prepare_cases(*cache_, cases, on_problem, [&](int64_t number, const LabelledCase&) {
      if (interrupted()) throw Cancelled("interrupted");
      view.count(what, "cases", number, int64_t(cases.size()));
    });
  };
  std::vector<PreparedCase> train = prepared("preparing", files_.data.train);
  std::vector<PreparedCase> validation = prepared("preparing for validation", validation_cases(files_, config));
  SAT_CHECK(!train.empty(), "no case to learn from could be read; ", files_.left_out.size(), " were left out");
  const std::string data = hash_of(train);

  SamplerOptions sampling;
  sampling.crop = config.crop;
  sampling.max_queries = config.max_queries;
  sampling.seed = config.seed;
  sampling.augment = config.augmentation;
  sampler_.emplace(*cache_, std::move(train), sampling_of(config), sampling);

  SegmentationSizes sizes = sizes_of(files_, config);
  for (const PreparedCase& one : validation) {
    const auto voxels = [](const std::array<int64_t, 3>& size) { return size[0] * size[1] * size[2]; };
    if (voxels(one.size) * one.structures <= voxels(sizes.validation) * sizes.validation_prompts) continue;
    sizes.validation = one.size;
    sizes.validation_prompts = one.structures;
    sizes.validation_modality = one.source.modality;
  }
  const ParameterGroups groups(config.groups);
  const int64_t waiting = (2 * config.batch + config.data.workers) * sampler_->bytes_of_sample();
  const SegmentationTrainingPlan plan =
      plan_training(network, groups, step_options(config), config.optimiser, sizes, waiting, most_bytes);

  TextSide text = text_side(files_, config, view);
  NamedTensors start;
  if (resumed) {
    start = resumed->parameters;
    const auto known = start.find(kModalityTable);
    SAT_CHECK(known != start.end() && known->second.shape == text.table.shape,
              "the run's checkpoint has no modality table of shape ", text.table.shape);
    text.table = known->second;
    start.erase(known);
  }
  SegmentationStepOptions options = step_options(config);
  options.recomputed_stages = plan.recomputed_stages;
  SegmentationStep step(network,
                        resumed ? Weights::from_tensors(start, "the run's checkpoint") : first_weights(files_, config),
                        groups, {files_.names, text.rows, text.table, config.text.train_modality}, options);
  SegmentationTaskOptions of_task;
  of_task.batch = config.batch;
  of_task.accumulation = config.accumulation;
  of_task.last_step = RateSchedule(config.stages).steps();
  of_task.seed = config.seed;
  of_task.workers = int(config.data.workers);
  task_.emplace(std::move(step), *sampler_, *cache_, std::move(validation), data, of_task);
}

std::string SegmentationRun::export_to(const std::string& folder, const NamedTensors& values,
                                       const std::string& identity) const {
  ModelFile model;
  model.path = folder + "/model.safetensors";
  model.config = files_.network;
  model.identity = identity;
  model.text_identity = files_.text_identity;
  NamedTensors network = values;
  EmbeddingBank bank = files_.bank;
  bank.modality_embed = network.at(kModalityTable);
  bank.model_identity = identity;
  network.erase(kModalityTable);
  model.weights = Weights::from_tensors(network, model.path);
  write_model_file(model.path, model, DType::f32, false);
  write_bank(folder + "/bank.safetensors", bank);
  return model.path + " and bank.safetensors";
}

}  // namespace sat::cli
