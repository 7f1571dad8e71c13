// From files to inputs of a model of radiographs: read, prepared and put together in batches, where a bad one stops no
// other. Knows neither models nor what is done with their results.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "examples/sat/images/load_image.h"
#include "examples/sat/radiographs/input/image_list.h"
#include "sat/io/images/prepare.h"
#include "sat/io/words/json.h"
#include "sat/tensor/context.h"

namespace sat::cli {

/// An image that is ready for the model.
struct ReadyImage {
  ListedImage listed;
  std::string identity;  // SHA-256 of its file
  LoadedImage loaded;
  PreparedImage prepared;
};

struct ImageReader {
  ImageOptions reading;
  ImagePreparation preparation;

  /// Throws Error for whatever is wrong with the file.
  ReadyImage ready(const ListedImage& image) const;
  /// How images are read and prepared, for manifests.
  Json to_json() const;
};

/// Inputs of several images as one batch: [B, H, W, 3].
Tensor joined_inputs(const std::vector<ReadyImage>& images);

/// What is done with images: those that are wanted are read and given to `batch`, at most so many at a time and in
/// order; one that cannot be read goes to `failed`.
struct BatchSteps {
  std::function<bool(const ListedImage& image)> wanted;
  std::function<void(const std::vector<ReadyImage>& images)> batch;
  std::function<void(const ListedImage& image, const std::exception& error)> failed;
  std::function<void(int64_t done)> progress;
};
/// In the current context, which may be cancelled between images.
void in_batches(const ImageReader& reader, const std::vector<ListedImage>& images, int64_t batch,
                const BatchSteps& steps);

/// The batch that fits the memory limit (bytes; 0: none): as many images as asked for, or fewer. `needed` plans a
/// batch. Throws MemoryError where one image is too many.
int64_t fitting_batch(int64_t asked, int64_t limit, const std::function<int64_t(int64_t batch)>& needed);

}  // namespace sat::cli
