// Names with prefixes in one safetensors file.
#include "sat/nn/train/training_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sat/io/checkpoints/safetensors.h"

namespace sat {

namespace {

constexpr const char *kFormat = "sat-training-1", *kSteps = "steps";
constexpr const char *kParameters = "parameters.", *kFirst = "first.", *kSecond = "second.", *kAverage = "average.";

const std::string& text_of(const std::map<std::string, std::string>& metadata, const char* key,
                           const std::string& path) {
  const auto found = metadata.find(key);
  SAT_CHECK(found != metadata.end(), path, ": its header has no \"", key, "\"");
  return found->second;
}

int64_t step_of(const std::map<std::string, std::string>& metadata, const char* key, const std::string& path) {
  const std::string& text = text_of(metadata, key, path);
  int64_t step = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  SAT_CHECK(error == std::errc() && end == text.data() + text.size() && step >= 0, path, ": \"", key, "\" is '", text,
            "', not a number of steps");
  return step;
}

/// Where `name` begins with `prefix`: true, and what follows it.
bool follows(const std::string& name, const std::string& prefix, std::string& rest) {
  if (name.compare(0, prefix.size(), prefix) != 0) return false;
  rest = name.substr(prefix.size());
  return true;
}

void compare(const Json& there, const Json& here, const std::string& path, const std::vector<std::string>& free,
             std::vector<std::string>& found) {
  if (std::find(free.begin(), free.end(), path) != free.end()) return;
  const Json::Kind kind = there.kind();
  const std::string dot = path.empty() ? "" : path + ".";
  if (kind == Json::Kind::object && here.kind() == kind) {
    for (const auto& [key, value] : there.members()) {
      const Json* other = here.find(key);
      compare(value, other ? *other : Json(), dot + key, free, found);
    }
    for (const auto& [key, value] : here.members()) {
      if (!there.find(key)) compare(Json(), value, dot + key, free, found);
    }
    return;
  }
  if (kind == Json::Kind::array && here.kind() == kind && there.size() == here.size()) {
    for (size_t i = 0; i < there.size(); ++i) {
      compare(there[i], here[i], path + "[" + std::to_string(i) + "]", free, found);
    }
    return;
  }
  if (there.dump() == here.dump()) return;
  const auto shown = [](const Json& value) { return value.is_null() ? "absent" : value.dump(); };
  found.push_back(path + " is " + shown(there) + " there, " + shown(here) + " here");
}

}  // namespace

std::vector<std::string> differences(const Json& there, const Json& here, const std::vector<std::string>& free) {
  std::vector<std::string> found;
  compare(there, here, "", free, found);
  return found;
}

bool is_training_checkpoint(const std::map<std::string, std::string>& metadata) {
  const auto format = metadata.find("format");
  return format != metadata.end() && format->second == kFormat;
}

void write_training_checkpoint(const std::string& path, const TrainingCheckpoint& checkpoint) {
  std::map<std::string, Tensor> tensors;
  std::vector<int64_t> steps;
  for (const auto& [name, tensor] : checkpoint.parameters) tensors[kParameters + name] = to_host(tensor);
  for (const auto& [name, tensor] : checkpoint.average) tensors[kAverage + name] = tensor;
  for (const auto& [name, moments] : checkpoint.moments) {
    tensors[kFirst + name] = moments.first;
    if (!moments.second.empty()) tensors[kSecond + name] = moments.second;
    steps.push_back(moments.steps);
  }
  if (!steps.empty()) tensors[kSteps] = from_ids({int64_t(steps.size())}, steps);
  std::map<std::string, std::string> metadata{{"format", kFormat},
                                              {"step", std::to_string(checkpoint.step)},
                                              {"config", checkpoint.config.dump()},
                                              {"model", checkpoint.model.dump()},
                                              {"data", checkpoint.data},
                                              {"best_step", std::to_string(checkpoint.best.step)},
                                              {"validated_step", std::to_string(checkpoint.best.validated)}};
  metadata["best_score"] = Json(checkpoint.best.score).dump();
  write_safetensors(path, tensors, metadata);
}

TrainingCheckpoint read_training_checkpoint(const std::string& path) {
  const Checkpoint file = read_safetensors(path);
  SAT_CHECK(is_training_checkpoint(file.metadata), path, ": not a checkpoint of a training (its header does not say \"",
            kFormat, "\")");
  SAT_CHECK(file.skipped.empty(), path, ": '", file.skipped.begin()->first, "' is ", file.skipped.begin()->second,
            ", which no training keeps");
  TrainingCheckpoint checkpoint;
  checkpoint.step = step_of(file.metadata, "step", path);
  checkpoint.best.step = step_of(file.metadata, "best_step", path);
  checkpoint.best.validated = step_of(file.metadata, "validated_step", path);
  checkpoint.best.score = Json::parse(text_of(file.metadata, "best_score", path), path + " (best_score)").number();
  checkpoint.config = Json::parse(text_of(file.metadata, "config", path), path + " (config in its header)");
  checkpoint.model = Json::parse(text_of(file.metadata, "model", path), path + " (model in its header)");
  checkpoint.data = text_of(file.metadata, "data", path);

  const Weights weights = file.weights.finite();
  Tensor steps;
  for (const Weights::Entry& entry : weights.entries()) {
    std::string name;
    const bool counts = entry.name == kSteps;
    SAT_CHECK(entry.dtype == (counts ? DType::i64 : DType::f32), path, ": tensor '", entry.name, "' holds ",
              entry.dtype, ", which is not what a training keeps there");
    const Tensor tensor = entry.load();
    if (counts) {
      steps = tensor;
    } else if (follows(entry.name, kParameters, name)) {
      checkpoint.parameters[name] = tensor;
    } else if (follows(entry.name, kAverage, name)) {
      checkpoint.average[name] = tensor;
    } else if (follows(entry.name, kFirst, name)) {
      checkpoint.moments[name].first = tensor;
    } else {
      SAT_CHECK(follows(entry.name, kSecond, name), path, ": tensor '", entry.name, "' belongs to no training");
      checkpoint.moments[name].second = tensor;
    }
  }
  const auto check = [&](const char* what, const std::string& name, const Tensor& tensor) {
    const auto found = checkpoint.parameters.find(name);
    SAT_CHECK(found != checkpoint.parameters.end(), path, ": '", what, name, "' belongs to no parameter");
    SAT_CHECK(tensor.shape == found->second.shape, path, ": '", what, name, "' has shape ", tensor.shape,
              ", its parameter ", found->second.shape);
  };
  for (const auto& [name, tensor] : checkpoint.average) check(kAverage, name, tensor);
  const int64_t moved = int64_t(checkpoint.moments.size());
  SAT_CHECK(moved == 0 ? steps.empty() : steps.shape == Shape({moved}), path, ": '", kSteps, "' has shape ",
            steps.shape, ", ", moved, " parameters have moments");
  int64_t i = 0;
  for (auto& [name, moments] : checkpoint.moments) {
    check(kFirst, name, moments.first);
    if (!moments.second.empty()) check(kSecond, name, moments.second);
    moments.steps = steps.data<int64_t>()[i++];
    SAT_CHECK(moments.steps > 0 && moments.steps <= checkpoint.step, path, ": '", name, "' moved ", moments.steps,
              " times in ", checkpoint.step, " steps");
  }
  return checkpoint;
}

}  // namespace sat
