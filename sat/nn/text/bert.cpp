// BERT's embeddings and the names of its layers' weights.
#include "sat/nn/text/bert.h"

namespace sat {

TextBackboneConfig bert_base() {
  TextBackboneConfig config;
  config.vocabulary = 30522;
  config.hidden = 768;
  config.layers = 12;
  config.heads = 12;
  config.feedforward = 3072;
  config.positions = 512;
  config.eps = 1e-12f;
  return config;
}

PostNormLayer read_bert_layer(const Weights& w, const TextBackboneConfig& config) {
  const Weights attention = w / "attention", self = attention / "self", output = attention / "output";
  const int64_t C = config.hidden;
  PostNormLayer layer;
  layer.attention.query = Linear(self / "query", C, C);
  layer.attention.key = Linear(self / "key", C, C);
  layer.attention.value = Linear(self / "value", C, C);
  layer.attention.out = Linear(output / "dense", C, C);
  layer.attention.norm = LayerNorm(output / "LayerNorm", C, config.eps);
  layer.attention.heads = config.heads;
  layer.mlp.up = Linear(w / "intermediate" / "dense", C, config.feedforward);
  layer.mlp.down = Linear(w / "output" / "dense", config.feedforward, C);
  layer.mlp.norm = LayerNorm(w / "output" / "LayerNorm", C, config.eps);
  return layer;
}

Bert::Bert(const Weights& w, const TextBackboneConfig& config)
    : words_(
          to_compute_device((w / "embeddings" / "word_embeddings").get("weight", {config.vocabulary, config.hidden}))),
      positions_(to_compute_device(
          (w / "embeddings" / "position_embeddings").get("weight", {config.positions, config.hidden}))),
      type_(to_compute_device(
          reshape(rows_of(w, (w / "embeddings" / "token_type_embeddings").get("weight", {2, config.hidden}), 0, 1),
                  {config.hidden}))),
      norm_(w / "embeddings" / "LayerNorm", config.hidden, config.eps),
      no_table_(to_compute_device(Tensor({0, config.heads}))) {
  for (int64_t l = 0; l < config.layers; ++l) layers_.push_back(read_bert_layer(w / "encoder" / "layer" / l, config));
  (w / "embeddings").ignore("position_ids");
  (w / "pooler").ignore_all();
}

Tensor Bert::embed(const TokenRows& texts) const {
  std::vector<int64_t> places;
  for (int64_t text = 0; text < texts.texts(); ++text) {
    for (int64_t i = 0; i < texts.length(text); ++i) places.push_back(i);
  }

  // Embeddings: what the token is, where it stands, and that it belongs to the first (and only) sentence.
  const Tensor word = gather_rows(words_, texts.ids());
  const Tensor position = gather_rows(positions_, places);
  return norm_(add(add(word, type_), position));  // [R, C]
}

Tensor Bert::mask_bias(const TokenRows& texts) const {
  return texts.all_attended() ? Tensor() : attention_bias(no_table_, {}, texts.starts(), texts.attended());
}

Tensor Bert::encode(Tensor x, const TokenRows& texts, const Tensor& bias, const HiddenProbe& probe) const {
  const Segments segments = texts.segments();
  for (size_t l = 0; l < layers_.size(); ++l) {
    x = layers_[l](x, segments, bias);
    if (probe) probe(int64_t(l) + 1, x);
  }
  return x;
}

Tensor Bert::operator()(const TokenRows& texts, const HiddenProbe& probe) const {
  Tensor x = embed(texts);
  if (probe) probe(0, x);
  return encode(std::move(x), texts, mask_bias(texts), probe);
}

}  // namespace sat
