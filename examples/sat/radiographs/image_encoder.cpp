// Opening a model of radiographs, and reading images for it.
#include "examples/sat/radiographs/image_encoder.h"

#include <algorithm>

#include "examples/sat/devices.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "sat/io/files/hash.h"
#include "sat/nn/run/plan.h"
#include "sat/tensor/memory/machine.h"

namespace sat::cli {

namespace {

DeviceHandle only_one(const DeviceChoice& choice) {
  const std::vector<DeviceHandle> devices = failing_as(FailureKind::device, [&] { return open_devices(choice); });
  if (devices.size() != 1) throw UsageError("--device names several devices; radiographs are encoded on one");
  return devices[0];
}

ImagePreparation preparation_for(const ImageModel& model, int64_t size) {
  ImagePreparation steps = model.kind() == "ecamp" ? ecamp_classification_input() : rad_dino_input();
  steps.shortest = steps.size = size > 0 ? size : model.input_size();
  if (steps.size % model.patch() != 0) {
    throw UsageError("--size " + std::to_string(steps.size) + " is no multiple of the model's patches of " +
                     std::to_string(model.patch()) + " pixels");
  }
  return steps;
}

const char* name_of(ImagePreparation::Fit fit) {
  constexpr const char* kNames[] = {"crop", "crop rounded", "squeeze"};
  return kNames[size_t(fit)];
}

}  // namespace

ImageEncoder::ImageEncoder(const ImageModelChoice& choice) : choice_(choice) {
  ImageModelOptions options = choice.model;
  options.device = only_one(choice.device);
  options.machine_bytes = memory_limit().bytes;
  options.cancelled = interrupted;
  model_ = ImageModel::open(options);
  ContextOptions chosen = model_->context_options();
  chosen.threads = options.threads;
  chosen.cancelled = interrupted;
  context_ = std::make_unique<Context>(chosen);
  preparation_ = preparation_for(*model_, choice.size);
}

ReadyImage ImageEncoder::ready(const ListedImage& image) const {
  if (!image.error.empty()) fail(image.error);
  ReadyImage one;
  one.listed = image;
  one.identity = sha256_of_file(image.path);
  one.loaded = load_image(image.path, choice_.reading);
  one.prepared = prepare_image(one.loaded.image, preparation_);
  return one;
}

Json ImageEncoder::preparation_json() const {
  const ImageOptions& reading = choice_.reading;
  Json window = cli::name_of(reading.window);
  if (reading.window == WindowRule::given) {
    window = Json::array({Json(reading.given.low), Json(reading.given.high)});
  }
  return Json::object({{"fit", name_of(preparation_.fit)},
                       {"filter", preparation_.filter == ResizeFilter::bicubic ? "bicubic" : "bilinear"},
                       {"size", preparation_.size},
                       {"grey", preparation_.grey},
                       {"mean", preparation_.mean},
                       {"std", preparation_.deviation},
                       {"window", window},
                       {"exif", reading.exif},
                       {"interpolation", model_->interpolation()}});
}

FeatureSource ImageEncoder::source(const EncodeOptions& options) const {
  FeatureSource source;
  source.model = model_->kind();
  source.identity = model_->identity();
  source.layers = options.layers;
  if (source.layers.empty()) source.layers = {model_->depth()};
  source.tokens = sat::name_of(options.tokens);
  source.norm = options.normed ? "final" : "none";
  source.preprocessing = preparation_json();
  source.remark = model_->remark();
  return source;
}

int64_t ImageEncoder::batch(const EncodeOptions* options) const {
  UseContext use(*context_);
  const int64_t limit = choice_.model.max_ram > 0 ? choice_.model.max_ram : memory_limit().bytes;
  for (int64_t count = choice_.batch;; count = count / 2) {
    const int64_t size = preparation_.size;
    const int64_t needed = model_->planned_bytes({count, size, size, 3}, options) + kProgramBytes;
    if (limit == 0 || needed <= limit) return count;
    if (count > 1) continue;
    fail_as<MemoryError>("one image of ", size, " x ", size, " pixels needs ", needed, " bytes (", (needed >> 20) + 1,
                         " MiB) of memory, the limit is ", limit, " bytes (", limit >> 20, " MiB)");
  }
}

Tensor joined_inputs(const std::vector<ReadyImage>& images) {
  if (images.size() == 1) return images[0].prepared.input;
  Tensor batch(images[0].prepared.input.shape.with(0, int64_t(images.size())));
  for (size_t i = 0; i < images.size(); ++i) copy_into(batch, int64_t(i), images[i].prepared.input);
  return batch;
}

void in_batches(const ImageEncoder& encoder, const std::vector<ListedImage>& images, int64_t batch,
                const BatchSteps& steps) {
  UseContext use(encoder.context());
  std::vector<ReadyImage> ready;
  int64_t done = 0;
  const auto flush = [&] {
    if (ready.empty()) return;
    steps.batch(ready);
    ready.clear();
  };
  for (const ListedImage& image : images) {
    encoder.context().stop_if_cancelled();
    try {
      if (steps.wanted(image)) ready.push_back(encoder.ready(image));
    } catch (const Cancelled&) {
      throw;
    } catch (const MemoryError&) {
      throw;
    } catch (const Error& error) {
      steps.failed(image, error);
    }
    ++done;
    if (int64_t(ready.size()) == batch || done == int64_t(images.size())) {
      flush();
      steps.progress(done);
    }
  }
}

}  // namespace sat::cli
