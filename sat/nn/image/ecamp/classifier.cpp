// The classifier's head, and its sizes.
#include "sat/nn/image/ecamp/classifier.h"

#include "sat/nn/image/ecamp/ecamp_config.h"

namespace sat {

EcampClassifierConfig recognise_ecamp_classifier(const Weights& w) {
  const Shape head = (w / "head").shape_of("weight");
  SAT_CHECK(head.rank() == 2 && head[0] > 0, w.source(), ": tensor 'head.weight' has shape ", head,
            ", needs [classes, channels]");
  return {recognise_ecamp_encoder(w), head[0]};
}

EcampClassifier::EcampClassifier(const Weights& w, const EcampClassifierConfig& config)
    : encoder_(w, config.encoder),
      norm_(w / "fc_norm", config.encoder.width, config.encoder.eps),
      head_(w / "head", config.encoder.width, config.classes) {}

Tensor EcampClassifier::features(const Tensor& images) const { return norm_(encoder_.mean_patch(images)); }

}  // namespace sat
