// Opening one of ECAMP's fine-tuned networks.
#include "examples/sat/radiographs/ecamp_network.h"

#include "examples/sat/interrupt.h"
#include "examples/sat/output/failure.h"
#include "examples/sat/radiographs/image_encoder.h"
#include "sat/tensor/memory/machine.h"

namespace sat::cli {

namespace {

ImagePreparation preparation_for(const EcampModel& model) {
  ImagePreparation steps = model.kind() == EcampKind::classification ? ecamp_classification_input()
                           : model.kind() == EcampKind::segmentation ? ecamp_segmentation_input()
                                                                     : ecamp_detection_input();
  steps.shortest = steps.size = model.input_size();
  return steps;
}

LoadOptions options_of(const ImageModelChoice& choice) {
  LoadOptions options = choice.model;
  options.machine_bytes = memory_limit().bytes;
  options.device = only_device_of(choice);
  options.cancelled = interrupted;
  return options;
}

}  // namespace

EcampNetwork::EcampNetwork(const ImageModelChoice& choice, EcampKind wanted, const std::string& command)
    : choice_(choice) {
  const EcampKind kind = recognise_ecamp_file(choice.model.model);
  if (kind != wanted) {
    throw Failure(FailureKind::input, choice.model.model + ": " + sat::name_of(kind) + " of ECAMP's; sat " + command +
                                          " runs " + sat::name_of(wanted));
  }
  model_ = EcampModel::open(options_of(choice));
  if (choice.size > 0 && choice.size != model_->input_size()) {
    throw UsageError("--size " + std::to_string(choice.size) + ": this model takes images of " +
                     std::to_string(model_->input_size()) + " pixels alone");
  }
  ContextOptions chosen = model_->context_options();
  chosen.threads = choice.model.threads;
  chosen.cancelled = interrupted;
  context_ = std::make_unique<Context>(chosen);
  reader_ = {choice.reading, preparation_for(*model_)};
}

int64_t EcampNetwork::batch() const {
  UseContext use(*context_);
  return fitting_batch(choice_.batch, memory_limit_of(choice_),
                       [&](int64_t count) { return model_->planned_bytes(count); });
}

}  // namespace sat::cli
