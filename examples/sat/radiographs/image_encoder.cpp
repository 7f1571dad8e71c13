// Opening an encoder of radiographs.
#include "examples/sat/radiographs/image_encoder.h"

#include "examples/sat/devices.h"
#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "sat/tensor/memory/machine.h"

namespace sat::cli {

namespace {

ImagePreparation preparation_for(const ImageModel& model, int64_t size) {
  ImagePreparation steps = model.kind() == "ecamp" ? ecamp_classification_input() : rad_dino_input();
  steps.shortest = steps.size = size > 0 ? size : model.input_size();
  if (steps.size % model.patch() != 0) {
    throw UsageError("--size " + std::to_string(steps.size) + " is no multiple of the model's patches of " +
                     std::to_string(model.patch()) + " pixels");
  }
  return steps;
}

}  // namespace

DeviceHandle only_device_of(const ImageModelChoice& choice) {
  const std::vector<DeviceHandle> devices =
      failing_as(FailureKind::device, [&] { return open_devices(choice.device); });
  if (devices.size() != 1) throw UsageError("--device names several devices; radiographs are worked on by one");
  return devices[0];
}

int64_t memory_limit_of(const ImageModelChoice& choice) {
  return choice.model.max_ram > 0 ? choice.model.max_ram : memory_limit().bytes;
}

ImageEncoder::ImageEncoder(const ImageModelChoice& choice) : choice_(choice) {
  ImageModelOptions options = choice.model;
  options.device = only_device_of(choice);
  options.machine_bytes = memory_limit().bytes;
  options.cancelled = interrupted;
  model_ = ImageModel::open(options);
  ContextOptions chosen = model_->context_options();
  chosen.threads = options.threads;
  chosen.cancelled = interrupted;
  context_ = std::make_unique<Context>(chosen);
  reader_ = {choice.reading, preparation_for(*model_, choice.size)};
}

FeatureSource ImageEncoder::source(const EncodeOptions& options) const {
  FeatureSource source;
  source.model = model_->kind();
  source.identity = model_->identity();
  source.layers = options.layers;
  if (source.layers.empty()) source.layers = {model_->depth()};
  source.tokens = name_of(options.tokens);
  source.norm = options.normed ? "final" : "none";
  source.preprocessing = reader_.to_json();
  source.preprocessing.set("interpolation", model_->interpolation());
  source.remark = model_->remark();
  return source;
}

int64_t ImageEncoder::batch(const EncodeOptions* options) const {
  UseContext use(*context_);
  const int64_t size = reader_.preparation.size;
  return fitting_batch(choice_.batch, memory_limit_of(choice_), [&](int64_t count) {
    return model_->planned_bytes({count, size, size, 3}, options);
  });
}

}  // namespace sat::cli
