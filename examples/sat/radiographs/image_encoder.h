// An encoder of radiographs as the command line asks for it: opened, with the way from a file to its input, and the
// memory that a batch may take. What is done with the results is each command's.
#pragma once

#include <memory>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/radiographs/input/image_reader.h"
#include "sat/io/features/feature_source.h"
#include "sat/nn/image/image_model.h"

namespace sat::cli {

class ImageEncoder {
 public:
  /// Opens the device and the model, with this process's memory as the limit where the choice has none.
  explicit ImageEncoder(const ImageModelChoice& choice);

  const ImageModel& model() const { return *model_; }
  Context& context() const { return *context_; }
  const ImageReader& reader() const { return reader_; }
  FeatureSource source(const EncodeOptions& options) const;

  /// As many images at a time as asked for, or fewer where that would pass the memory limit: of encode() with these
  /// options, or of what ImageModel::planned_bytes() says without. Throws MemoryError where one is too many.
  int64_t batch(const EncodeOptions* options) const;

 private:
  ImageModelChoice choice_;
  std::shared_ptr<const ImageModel> model_;
  std::unique_ptr<Context> context_;
  ImageReader reader_;
};

/// The device of a choice; null: the CPU. Throws UsageError where there are several.
DeviceHandle only_device_of(const ImageModelChoice& choice);
/// Bytes that this process may hold, by the choice or else by what the machine grants; 0: unknown.
int64_t memory_limit_of(const ImageModelChoice& choice);

}  // namespace sat::cli
