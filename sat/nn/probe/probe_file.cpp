// The probe's file.
#include "sat/nn/probe/probe_file.h"

#include "sat/io/checkpoints/safetensors.h"
#include "sat/io/words/text.h"

namespace sat {

namespace {

constexpr const char* kFormat = "sat-probe";
constexpr const char* kVersion = "1";
constexpr const char* kLabels = "labels";
constexpr const char* kClasses = "classes";

}  // namespace

bool is_probe(const Checkpoint& file) {
  const auto format = file.metadata.find("format");
  return format != file.metadata.end() && format->second == kFormat;
}

ProbeFile read_probe(const std::string& path) {
  const Checkpoint file = read_safetensors(path);
  const auto entry = [&](const char* key) -> const std::string& {
    const auto found = file.metadata.find(key);
    SAT_CHECK(found != file.metadata.end(), path, ": a probe without \"", key, "\" in its metadata");
    return found->second;
  };
  const auto json = [&](const char* key) { return Json::parse(entry(key), path + ", " + key); };
  SAT_CHECK(entry("format") == kFormat, path, ": format is ", quoted(entry("format")), ", a probe's is ",
            quoted(kFormat));
  SAT_CHECK(entry("version") == kVersion, path, ": a probe of version ", quoted(entry("version")), "; version ",
            kVersion, " can be read");
  ProbeFile found;
  const std::string& task = entry("task");
  SAT_CHECK(task == kLabels || task == kClasses, path, ": the task is ", quoted(task), ", it is labels or classes");
  found.probe.exclusive = task == kClasses;
  found.probe.labels = json("labels").strings();
  found.probe.thresholds = json("thresholds").numbers();
  found.source = feature_source_from_json(json("source"), path);
  found.training = json("training");
  const auto tensor = [&](const char* name) { return file.weights.get(name, file.weights.shape_of(name)); };
  found.probe.weight = tensor("weight");
  found.probe.bias = tensor("bias");
  found.probe.mean = tensor("mean");
  found.probe.deviation = tensor("deviation");
  const std::vector<std::string> unknown = file.weights.never_read();
  SAT_CHECK(unknown.empty(), path, ": a probe has no tensor ", quoted(unknown.front()));
  check_probe(found.probe, path);
  return found;
}

void write_probe(const std::string& path, const ProbeFile& file) {
  const LinearProbe& probe = file.probe;
  check_probe(probe, path);
  Json labels = Json::array(), thresholds = Json::array();
  for (const std::string& label : probe.labels) labels.push(label);
  for (const double threshold : probe.thresholds) thresholds.push(threshold);
  write_safetensors(
      path, {{"weight", probe.weight}, {"bias", probe.bias}, {"mean", probe.mean}, {"deviation", probe.deviation}},
      {{"format", kFormat},
       {"version", kVersion},
       {"task", probe.exclusive ? kClasses : kLabels},
       {"labels", labels.dump()},
       {"thresholds", thresholds.dump()},
       {"source", to_json(file.source).dump()},
       {"training", file.training.dump()}});
}

void check_fits(const ProbeFile& file, const std::string& probe_path, const FeatureSource& features, int64_t channels,
                const std::string& features_path) {
  SAT_CHECK(channels == file.probe.channels(), features_path, " has features of ", channels, " channels, the probe ",
            probe_path, " takes ", file.probe.channels());
  const std::string differs = difference(features, file.source);
  SAT_CHECK(differs.empty(), features_path, " does not fit the probe ", probe_path, ": ", differs);
}

}  // namespace sat
