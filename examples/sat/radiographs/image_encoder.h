// A model of radiographs as the command line asks for it: opened, with the way from a file to its input, and the memory
// that a batch may take. What is done with the results is each command's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/sat/command_line/command_line.h"
#include "examples/sat/images/load_image.h"
#include "examples/sat/radiographs/image_list.h"
#include "sat/io/features/feature_source.h"
#include "sat/io/images/prepare.h"
#include "sat/nn/image/image_model.h"

namespace sat::cli {

/// An image that is ready for the model.
struct ReadyImage {
  ListedImage listed;
  std::string identity;  // SHA-256 of its file
  LoadedImage loaded;
  PreparedImage prepared;
};

class ImageEncoder {
 public:
  /// Opens the device and the model, with this process's memory as the limit where the choice has none.
  explicit ImageEncoder(const ImageModelChoice& choice);

  const ImageModel& model() const { return *model_; }
  Context& context() const { return *context_; }
  const ImagePreparation& preparation() const { return preparation_; }

  /// Reads and prepares; throws Error for whatever is wrong with the file.
  ReadyImage ready(const ListedImage& image) const;

  /// How images are read and prepared, for manifests.
  Json preparation_json() const;
  FeatureSource source(const EncodeOptions& options) const;

  /// As many images as asked for, or fewer where that would pass the memory limit: of encode() with these options, or
  /// of what ImageModel::planned_bytes() says without. Throws MemoryError where one is too many.
  int64_t batch(const EncodeOptions* options) const;

 private:
  ImageModelChoice choice_;
  std::shared_ptr<const ImageModel> model_;
  std::unique_ptr<Context> context_;
  ImagePreparation preparation_;
};

/// Inputs of several images as one batch: [B, H, W, 3].
Tensor joined_inputs(const std::vector<ReadyImage>& images);

/// The images that the model sees; the others are reported by `failed` and passed over. `batch` is called with at most
/// so many of them at a time, in order, `wanted` before an image is read.
struct BatchSteps {
  std::function<bool(const ListedImage& image)> wanted;
  std::function<void(const std::vector<ReadyImage>& images)> batch;
  std::function<void(const ListedImage& image, const std::exception& error)> failed;
  std::function<void(int64_t done)> progress;
};
void in_batches(const ImageEncoder& encoder, const std::vector<ListedImage>& images, int64_t batch,
                const BatchSteps& steps);

}  // namespace sat::cli
