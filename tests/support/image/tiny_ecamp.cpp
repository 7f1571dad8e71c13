// Tiny sizes, and the tensors that constructors ask for.
#include "tests/support/image/tiny_ecamp.h"

#include "tests/support/parity/recorded.h"

namespace sat::test {

namespace {

template <class Network, class Config>
Tensors asked_by(const Config& config, const Weights& generator) {
  Tensors kept;
  const Network network(Weights::made([&](const std::string& name, const Shape& shape) {
                          return kept[name] = generator.get(name, shape);
                        }),
                        config);
  return kept;
}

}  // namespace

VitConfig tiny_ecamp_encoder() {
  VitConfig config = ecamp_base().encoder;
  config.width = 64;
  config.depth = 2;
  config.heads = 1;
  config.hidden = 96;
  config.table = {4, 4};
  return config;
}

EcampConfig tiny_ecamp() {
  EcampConfig config;
  config.encoder = tiny_ecamp_encoder();
  config.decoder = config.encoder;
  config.decoder.width = 32;
  config.decoder.depth = 1;
  config.decoder.hidden = 40;
  config.text = {40, 64, 2, 1, 96, 12, 1e-12f};
  return config;
}

EcampClassifierConfig tiny_classifier() { return {tiny_ecamp_encoder(), 5}; }

EcampSegmenterConfig tiny_segmenter() { return {tiny_ecamp_encoder(), {12, 10, 8, 6}, {"decoder"}}; }

EcampSegmenterConfig tiny_disc_and_cup() {
  return {tiny_ecamp_encoder(), {12, 10, 8, 6}, {"decoder_disc", "decoder_cup"}};
}

EcampDetectorConfig tiny_detector() {
  EcampDetectorConfig config;
  config.encoder = tiny_ecamp_encoder();
  config.pyramid = {32, 24, 16};
  config.bottleneck = {8, 6, 4};
  config.head = {{{12, 20}, {10, 18}, {8, 16}}};
  config.branch = {6, 4};
  config.classes = 2;
  return config;
}

Tensors tensors_of(const EcampConfig& config) { return asked_by<EcampPretraining>(config, generated_ecamp("")); }
Tensors tensors_of(const EcampClassifierConfig& config) {
  return asked_by<EcampClassifier>(config, generated_downstream(""));
}
Tensors tensors_of(const EcampSegmenterConfig& config) {
  return asked_by<EcampSegmenter>(config, generated_downstream(""));
}
Tensors tensors_of(const EcampDetectorConfig& config) {
  return asked_by<EcampDetector>(config, generated_downstream(""));
}

}  // namespace sat::test
