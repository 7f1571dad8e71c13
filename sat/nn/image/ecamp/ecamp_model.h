// ECAMP's fine-tuned networks in hand: classes, masks or boxes of radiographs, loaded from a file, constant, and shared
// by whoever uses them. Its encoder's features are ImageModel's (image_model.h); takes images as io/images/prepare.h
// prepares them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/nn/image/ecamp/detection/detection.h"
#include "sat/nn/load_options.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// What a file of ECAMP's holds.
enum class EcampKind : uint8_t { encoder, pretraining, classification, segmentation, detection };
const char* name_of(EcampKind kind);  // "an encoder", "a pre-training checkpoint", "a classifier" ...

/// What is in a file, by its tensors; throws Error for a file of none of them.
EcampKind recognise_ecamp_file(const std::string& path);

/// Constant after loading: any number of callers use one model at the same time, each in a context of its own that was
/// made of context_options(). An image's results have the same bits whatever others are in its batch.
class EcampModel {
 public:
  /// Throws Error for a file that is no classifier, segmenter or detector of ECAMP's, naming what is wrong with it;
  /// MemoryError where the limit would be passed.
  static std::shared_ptr<const EcampModel> open(const LoadOptions& options);
  ~EcampModel();
  EcampModel(const EcampModel&) = delete;
  EcampModel& operator=(const EcampModel&) = delete;

  const LoadOptions& options() const;
  EcampKind kind() const;
  const std::string& identity() const;     // sha256
  const std::string& remark() const;       // what whoever reads results must know: "untrained weights"; mostly empty
  int64_t input_size() const;              // side of the only images that it takes: [B, side, side, 3]
  int64_t classes() const;                 // that a classifier or a detector tells apart
  std::vector<std::string> masks() const;  // of a segmenter: "mask", or "disc" and "cup"
  ContextOptions context_options() const;

  /// Each throws Error where the model is of another kind.
  Tensor classify(const Tensor& images) const;  // logits [B, classes]
  Tensor segment(const Tensor& images) const;   // logits [B, side, side, masks]; above 0 is inside
  /// Boxes of at least this objectness, without those that overlap a surer one of their class by `most_overlap` or
  /// more: of each image, class by class, the surest first.
  std::vector<std::vector<Detection>> detect(const Tensor& images, double confidence = 0.5,
                                             double most_overlap = 0.5) const;

  /// The most bytes of the CPU's memory that a call for `batch` images holds at a time, weights included, learnt by a
  /// dry run in the current context.
  int64_t planned_bytes(int64_t batch) const;

 private:
  struct State;
  explicit EcampModel(std::unique_ptr<State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace sat
