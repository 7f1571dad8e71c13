// Private. A probe as a file: safetensors, with what it needs to know of the features that it may be applied to.
#pragma once

#include <string>

#include "sat/io/checkpoints/checkpoint.h"
#include "sat/io/features/feature_source.h"
#include "sat/io/words/json.h"
#include "sat/nn/probe/linear_probe.h"

namespace sat {

struct ProbeFile {
  LinearProbe probe;
  FeatureSource source;  // of the features that it was fitted on
  Json training;         // an object: how it was fitted, for people; not read by any program
};

/// Tensors `weight` [K, C], `bias` [K], `mean` and `deviation` [C]; in the metadata "format" = "sat-probe", "version" =
/// "1", "labels" (a JSON array), "task" ("labels" or "classes"), "thresholds" (a JSON array), "source"
/// (feature_source_from_json) and "training". Throws Error naming what does not fit.
ProbeFile read_probe(const std::string& path);
bool is_probe(const Checkpoint& file);  // says it of itself

/// The file appears complete or not at all. Throws Error for a probe that read_probe() would refuse.
void write_probe(const std::string& path, const ProbeFile& file);

/// Throws Error, naming both files, where the probe was not fitted on features of this kind.
void check_fits(const ProbeFile& file, const std::string& probe_path, const FeatureSource& features, int64_t channels,
                const std::string& features_path);

}  // namespace sat
