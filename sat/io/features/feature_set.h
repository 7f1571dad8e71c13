// Private. Features of many images as a file holds them: safetensors, .npy or CSV, known by its first bytes.
// Knows neither the networks that made them nor what is done with them.
#pragma once

#include <string>
#include <vector>

#include "sat/io/features/feature_log.h"
#include "sat/io/features/feature_source.h"
#include "sat/tensor/tensor.h"

namespace sat {

struct FeatureSet {
  Tensor features;                  // f32 [N, C], one row an image; [N, T, C] of T tokens an image; all finite
  std::vector<std::string> images;  // N names, distinct
  FeatureSource source;
  std::string path;

  int64_t size() const { return int64_t(images.size()); }
};

/// What lies beside a file of features: where they come from, and what became of every image.
struct FeatureManifest {
  std::string program;  // its version
  FeatureSource source;
  Shape shape{0};                      // of the features
  std::vector<FeatureRecord> records;  // those with features in the order of the rows
};

/// "features.npy" -> "features.npy.json"
std::string manifest_path(const std::string& features);
FeatureManifest read_manifest(const std::string& path);
void write_manifest(const std::string& path, const FeatureManifest& manifest);

/// Reads features:
///   safetensors  tensor `features`; the images' names as a JSON array of texts in the tensor `images` (u8); in the
///                metadata "format" = "sat-features", "version" = "1", "source" (feature_source_from_json)
///   .npy         [N, C] or [N, T, C]; names and source from the manifest, or names from PATH.ids.txt, one a line, or
///                "0", "1", ... where there is neither
///   CSV          a header line, names in the first column, numbers in the others; the source from the manifest, if any
/// Throws Error naming what does not fit.
FeatureSet read_features(const std::string& path);

}  // namespace sat
