// Private. Writing features of many images, one after the other, so that a run that was ended goes on where it was:
// rows wait in PATH.partial, and the finished file appears whole, with its manifest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/features/feature_log.h"
#include "sat/io/features/feature_set.h"

namespace sat {

inline constexpr const char* kFeatureFormat = "sat-features";
inline constexpr const char* kFeatureVersion = "1";

enum class FeatureForm : uint8_t { safetensors, npy, csv };
FeatureForm feature_form_of(const std::string& path);  // by its extension; throws Error naming the three

class FeatureWriter {
 public:
  /// `row` is an image's shape, [C] or [T, C]; a CSV takes [C] only. `program` is named in the manifest. What an
  /// earlier run with the same settings left, whole or in part, counts as written; with other settings it throws Error,
  /// unless `afresh`.
  FeatureWriter(const std::string& path, const FeatureSource& source, const Shape& row, const std::string& program,
                bool afresh = false);

  /// Are the features of this image there, made from the same file? An empty identity says nothing of the file.
  bool has(const std::string& image, const std::string& identity = "") const;

  /// f32 features of an image, on the CPU, and finite. A second time they replace the first.
  void append(const std::string& image, const std::string& identity, const Tensor& row);
  /// An image that has none, and why.
  void append_failure(const std::string& image, const std::string& identity, const std::string& why);

  /// Writes the features of these images, in this order, those without left out, then the manifest; removes what
  /// waited. Images that nobody appended are missing from both. Throws Error where no image has features. Returns their
  /// number.
  int64_t finish(const std::vector<std::string>& images);

 private:
  void take_over_finished();

  std::string path_, program_;
  FeatureForm form_;
  FeatureSource source_;
  Shape row_;
  FeatureLog log_;
};

/// All at once: the same bytes as by a FeatureWriter.
void write_features(const FeatureSet& set, const std::string& program);

}  // namespace sat
