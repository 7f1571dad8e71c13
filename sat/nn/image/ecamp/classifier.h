// Private. ECAMP fine-tuned or probed for classification (ecamp.md section 10): the mean patch, a norm, a dense layer.
#pragma once

#include "sat/nn/image/ecamp/fine_tuned_encoder.h"

namespace sat {

struct EcampClassifierConfig {
  VitConfig encoder;
  int64_t classes = 14;
};
/// Sizes as the tensors show them.
EcampClassifierConfig recognise_ecamp_classifier(const Weights& w);

class EcampClassifier {
 public:
  /// Reads the encoder, fc_norm.* and head.* below `w`.
  EcampClassifier(const Weights& w, const EcampClassifierConfig& config);

  int64_t classes() const { return head_.weight.out; }
  const FineTunedEncoder& encoder() const { return encoder_; }

  Tensor features(const Tensor& images) const;                                        // [B, C], behind the norm
  Tensor logits(const Tensor& features) const { return head_(features); }             // [B, classes]
  Tensor operator()(const Tensor& images) const { return logits(features(images)); }  // [B, 224, 224, 3] -> logits

 private:
  FineTunedEncoder encoder_;
  LayerNorm norm_;
  Linear head_;
};

}  // namespace sat
