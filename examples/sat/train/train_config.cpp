// The keys, their ranges, and the way back.
#include "examples/sat/train/train_config.h"

#include "sat/io/files/file.h"
#include "sat/nn/sat/sat_config.h"

namespace sat::cli {

namespace {

constexpr int64_t kLargestConfig = int64_t(4) << 20;
constexpr int64_t kMostSteps = int64_t(1) << 40, kMostBatch = 4096, kMostQueries = 100000, kLongestAxis = 4096;

ModelPart read_model(ConfigSection part) {
  ModelPart model;
  model.architecture = part.text("architecture");
  model.config = part.path("config");
  model.init = part.path("init");
  model.atlas = part.path("atlas");
  model.train = part.texts("train", {"*"});
  model.freeze = part.texts("freeze");
  part.finish();
  if (!model.architecture.empty()) part.choice("architecture", published_architectures());
  if (!model.architecture.empty() && !model.config.empty()) {
    part.refuse("config", "is given beside \"model.architecture\"; one of them describes the network");
  }
  if (model.architecture.empty() && model.config.empty() && model.init.empty()) {
    part.refuse("architecture", "is missing, and neither \"model.config\" nor \"model.init\" describes the network");
  }
  if (!model.init.empty() && !model.atlas.empty()) {
    part.refuse("atlas", "is given beside \"model.init\"; the network starts from one of them");
  }
  return model;
}

TextPart read_text(ConfigSection part) {
  TextPart text;
  text.bank = part.path("bank");
  text.encoder = part.path("encoder");
  text.vocabulary = part.path("vocabulary");
  text.train_modality = part.flag("train_modality", true);
  part.finish();
  if (text.bank.empty() == text.encoder.empty()) {
    part.refuse("bank", text.bank.empty() ? "is missing, and so is \"text.encoder\"; one of them gives the queries"
                                          : "is given beside \"text.encoder\"; one of them gives the queries");
  }
  if (!text.encoder.empty() && text.vocabulary.empty()) {
    part.refuse("vocabulary", "is missing; it is the encoder's vocab.txt");
  }
  return text;
}

DataPart read_data(ConfigSection part) {
  DataPart data;
  data.train = part.paths("train");
  data.validation = part.paths("validation");
  data.validation_fraction = part.number("validation_fraction", -1, 0, 0.9);
  data.cache = part.new_path("cache");
  data.workers = part.integer("workers", 2, 1, 64);
  data.skip_problems = part.choice("on_error", {"skip", "stop"}) == "skip";
  data.sampling = part.value("sampling");
  if (data.sampling.kind() == Json::Kind::string) {  // a file, as SAT has it
    const std::string path = part.path("sampling");
    data.sampling = Json::parse(read_file(path, kLargestConfig), path);
  }
  part.finish();
  if (data.train.empty()) part.refuse("train", "is missing: the lists of cases to learn from");
  return data;
}

std::vector<RateStage> read_stages(ConfigSection& config, const RateStage& published) {
  const auto one = [](ConfigSection& part, const RateStage& usual) {
    RateStage stage;
    stage.steps = part.integer("steps", usual.steps, 1, kMostSteps);
    stage.warm_up = part.integer("warm_up", stage.steps / 10, 0, kMostSteps);
    stage.rate = part.number("rate", usual.rate, 0, 1e3);
    if (stage.warm_up >= stage.steps) {
      part.refuse("warm_up", "is " + std::to_string(stage.warm_up) + "; it is shorter than the " +
                                 std::to_string(stage.steps) + " steps");
    }
    return stage;
  };
  if (!config.has("stages")) return {one(config, published)};
  for (const char* key : {"steps", "warm_up", "rate"}) {
    if (config.has(key)) config.refuse(key, "is given beside \"stages\", which have their own");
  }
  std::vector<RateStage> stages;
  for (ConfigSection& part : config.sections("stages")) {
    for (const char* key : {"steps", "rate"}) {
      if (!part.has(key)) part.refuse(key, "is missing");
    }
    stages.push_back(one(part, {}));
    part.finish();
  }
  if (stages.empty()) config.refuse("stages", "is an empty list");
  return stages;
}

OptimiserOptions read_optimiser(ConfigSection part, OptimiserOptions options) {
  options.method = part.choice("method", {"adamw", "sgd"}) == "sgd" ? OptimiserMethod::sgd : OptimiserMethod::adamw;
  options.weight_decay = part.number("weight_decay", options.weight_decay, 0, 1e3);
  options.decay_vectors = part.flag("decay_vectors", options.decay_vectors);
  const std::array<double, 2> betas = part.numbers("betas", {0.9, 0.999}, 0, 0.9999999);
  options.beta1 = betas[0];
  options.beta2 = betas[1];
  options.eps = part.number("eps", 1e-8, 0, 1);
  options.momentum = part.number("momentum", 0.9, 0, 1);
  part.finish();
  return options;
}

std::vector<ParameterGroup> read_groups(ConfigSection& config, const ModelPart& model) {
  std::vector<ParameterGroup> groups;
  if (model.train != std::vector<std::string>{"*"}) {
    groups.push_back({"*", {}, {}, true});
    for (const std::string& pattern : model.train) groups.push_back({pattern, {}, {}, false});
    groups.push_back({"text.*", {}, {}, false});  // what "text" says of its own
  }
  for (const std::string& pattern : model.freeze) groups.push_back({pattern, {}, {}, true});
  for (ConfigSection& part : config.sections("groups")) {
    ParameterGroup group;
    group.pattern = part.text("names");
    if (group.pattern.empty()) part.refuse("names", "is missing: a pattern of parameters' names");
    if (part.has("rate")) group.rate = part.number("rate", 1, 0, 1e6);
    if (part.has("weight_decay")) group.weight_decay = part.number("weight_decay", 0, 0, 1e3);
    part.finish();
    groups.push_back(group);
  }
  return groups;
}

Json list_of(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push(text);
  return list;
}

/// Sets a key where there is something to say.
void set_text(Json& object, const char* key, const std::string& text) {
  if (!text.empty()) object.set(key, text);
}

void read_segmentation(TrainConfig& config, ConfigSection& part) {
  config.model = read_model(part.section("model"));
  config.text = read_text(part.section("text"));
  config.data = read_data(part.section("data"));
  config.groups = read_groups(part, config.model);
  config.crop = part.sizes("crop", config.crop, kLongestAxis);
  config.max_queries = part.integer("max_queries", 32, 1, kMostQueries);
  config.batch = part.integer("batch", 2, 1, kMostBatch);
  config.augmentation = part.flag("augmentation", true);
  config.deep_supervision = part.flag("deep_supervision", true);
  config.dropout = part.number("dropout", 0.1, 0, 0.99);
}

void add_segmentation(Json& json, const TrainConfig& config) {
  Json model = Json::object(), text = Json::object(), data = Json::object();
  set_text(model, "architecture", config.model.architecture);
  set_text(model, "config", config.model.config);
  set_text(model, "init", config.model.init);
  set_text(model, "atlas", config.model.atlas);
  model.set("train", list_of(config.model.train)).set("freeze", list_of(config.model.freeze));
  set_text(text, "bank", config.text.bank);
  set_text(text, "encoder", config.text.encoder);
  set_text(text, "vocabulary", config.text.vocabulary);
  text.set("train_modality", config.text.train_modality);
  data.set("train", list_of(config.data.train)).set("validation", list_of(config.data.validation));
  if (config.data.validation_fraction >= 0) data.set("validation_fraction", config.data.validation_fraction);
  if (!config.data.sampling.is_null()) data.set("sampling", config.data.sampling);
  set_text(data, "cache", config.data.cache);
  data.set("workers", config.data.workers).set("on_error", config.data.skip_problems ? "skip" : "stop");
  json.set("model", std::move(model)).set("text", std::move(text)).set("data", std::move(data));
  json.set("crop", Json::array({config.crop[0], config.crop[1], config.crop[2]}));
  json.set("max_queries", config.max_queries).set("batch", config.batch);
  json.set("augmentation", config.augmentation).set("deep_supervision", config.deep_supervision);
  json.set("dropout", config.dropout);
}

}  // namespace

TrainConfig train_config_of(const Json& json, const std::string& source) {
  ConfigSection part(json, source);
  TrainConfig config;
  const bool of_knowledge = part.choice("task", {"segmentation", "knowledge"}) == "knowledge";
  config.seed = uint64_t(part.integer("seed", 0, 0, INT64_MAX));
  if (of_knowledge) {  // the published values of that training (spec m.4)
    config.stages = {{100000, 10000, 1e-5}};
    config.optimiser.weight_decay = 0;
    config.optimiser.decay_vectors = false;
  }
  config.stages = read_stages(part, config.stages[0]);
  config.optimiser = read_optimiser(part.section("optimiser"), config.optimiser);
  config.clip = part.number("clip", 0, 0, 1e9);
  config.average = part.number("average", 0, 0, 0.9999999);
  config.precision = part.choice("precision", {"exact", "fast"}) == "fast" ? Precision::fast : Precision::exact;
  config.accumulation = part.integer("accumulation", 1, 1, kMostBatch);
  config.average_accumulation = part.flag("average_accumulation", false);
  ConfigSection validation = part.section("validation"), checkpoints = part.section("checkpoints");
  config.validation.every = validation.integer("every", 1000, 0, kMostSteps);
  config.validation.cases = validation.integer("cases", 8, 1, 1000000);
  validation.finish();
  config.checkpoints.every = checkpoints.integer("every", 1000, 1, kMostSteps);
  config.checkpoints.keep_every = checkpoints.integer("keep_every", 10000, 0, kMostSteps);
  checkpoints.finish();
  if (of_knowledge) {
    config.knowledge = read_knowledge(part.section("knowledge"));
    config.groups = read_groups(part, config.model);
  } else {
    read_segmentation(config, part);
  }
  part.finish();
  return config;
}

TrainConfig read_train_config(const std::string& path) {
  return train_config_of(Json::parse(read_file(path, kLargestConfig), path), path);
}

Json to_json(const TrainConfig& config) {
  Json json = Json::object({{"task", config.knowledge ? "knowledge" : "segmentation"}, {"seed", int64_t(config.seed)}});
  if (config.knowledge) {
    json.set("knowledge", to_json(*config.knowledge));
  } else {
    add_segmentation(json, config);
  }
  Json stages = Json::array();
  for (const RateStage& stage : config.stages) {
    stages.push(Json::object({{"steps", stage.steps}, {"warm_up", stage.warm_up}, {"rate", stage.rate}}));
  }
  json.set("stages", std::move(stages));
  const OptimiserOptions& optimiser = config.optimiser;
  json.set("optimiser", Json::object({{"method", optimiser.method == OptimiserMethod::sgd ? "sgd" : "adamw"},
                                      {"weight_decay", optimiser.weight_decay},
                                      {"decay_vectors", optimiser.decay_vectors},
                                      {"betas", Json::array({optimiser.beta1, optimiser.beta2})},
                                      {"eps", optimiser.eps},
                                      {"momentum", optimiser.momentum}}));
  Json groups = Json::array();
  for (const ParameterGroup& group : config.groups) {
    if (group.frozen) continue;  // said by "model"
    Json one = Json::object({{"names", group.pattern}});
    if (group.rate) one.set("rate", *group.rate);
    if (group.weight_decay) one.set("weight_decay", *group.weight_decay);
    groups.push(std::move(one));
  }
  json.set("groups", std::move(groups)).set("clip", config.clip).set("average", config.average);
  json.set("precision", name_of(config.precision)).set("accumulation", config.accumulation);
  json.set("average_accumulation", config.average_accumulation);
  json.set("validation", Json::object({{"every", config.validation.every}, {"cases", config.validation.cases}}));
  return json.set("checkpoints",
                  Json::object({{"every", config.checkpoints.every}, {"keep_every", config.checkpoints.keep_every}}));
}

const std::vector<std::string>& free_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> all{"model.init",      "model.atlas", "model.config",    "text.bank",  "text.encoder",
                                 "text.vocabulary", "data.train",  "data.validation", "data.cache", "data.workers",
                                 "data.on_error",   "validation",  "checkpoints"};
    all.insert(all.end(), free_knowledge_keys().begin(), free_knowledge_keys().end());
    return all;
  }();
  return keys;
}

}  // namespace sat::cli
