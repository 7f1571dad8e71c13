// MPNet's embeddings, its relative bias and the names of its layers' weights.
#include "sat/nn/text/mpnet.h"

#include <algorithm>

namespace sat {

namespace {

constexpr int64_t kBuckets = 32;
constexpr int64_t kPadding = 1;  // the id of <pad>, and the position that it gets

PostNormLayer read_layer(const Weights& w, const TextBackboneConfig& config) {
  const Weights attention = w / "attention";
  const int64_t C = config.hidden;
  PostNormLayer layer;
  layer.attention.query = Linear(attention / "attn" / "q", C, C);
  layer.attention.key = Linear(attention / "attn" / "k", C, C);
  layer.attention.value = Linear(attention / "attn" / "v", C, C);
  layer.attention.out = Linear(attention / "attn" / "o", C, C);
  layer.attention.norm = LayerNorm(attention / "LayerNorm", C, config.eps);
  layer.attention.heads = config.heads;
  layer.mlp.up = Linear(w / "intermediate" / "dense", C, config.feedforward);
  layer.mlp.down = Linear(w / "output" / "dense", config.feedforward, C);
  layer.mlp.norm = LayerNorm(w / "output" / "LayerNorm", C, config.eps);
  return layer;
}

/// <pad> stands at position 1 wherever it is; every other token at 2, 3, ... in order.
std::vector<int64_t> position_ids(const TokenRows& texts) {
  std::vector<int64_t> positions;
  for (int64_t text = 0; text < texts.texts(); ++text) {
    int64_t seen = 0;
    for (int64_t i = 0; i < texts.length(text); ++i) {
      const bool padding = texts.ids()[size_t(texts.first(text) + i)] == kPadding;
      positions.push_back(padding ? kPadding : kPadding + ++seen);
    }
  }
  return positions;
}

/// The bucket of each offset -(longest - 1) .. longest - 1 from a query to a key.
std::vector<int64_t> buckets_of(int64_t longest) {
  std::vector<int64_t> buckets;
  for (int64_t offset = 1 - longest; offset < longest; ++offset) buckets.push_back(relative_position_bucket(offset));
  return buckets;
}

}  // namespace

TextBackboneConfig mpnet_base() {
  TextBackboneConfig config;
  config.vocabulary = 30527;
  config.hidden = 768;
  config.layers = 12;
  config.heads = 12;
  config.feedforward = 3072;
  config.positions = 514;
  config.eps = 1e-5f;
  return config;
}

int64_t relative_position_bucket(int64_t offset) {
  constexpr int64_t kHalf = kBuckets / 2, kExact = kHalf / 2;
  const int64_t side = offset > 0 ? kHalf : 0;
  const int64_t n = std::min<int64_t>(offset < 0 ? -offset : offset, 1 << 20);
  if (n < kExact) return side + n;
  // trunc(8 ln(n / 8) / ln 16) = the largest b with (n / 8)^2 >= 2^b: whole numbers have no rounding at the steps.
  int64_t bucket = kExact;
  while (bucket < kHalf - 1 && n * n >= int64_t(64) << (bucket + 1 - kExact)) ++bucket;
  return side + bucket;
}

Mpnet::Mpnet(const Weights& w, const TextBackboneConfig& config)
    : words_(
          to_compute_device((w / "embeddings" / "word_embeddings").get("weight", {config.vocabulary, config.hidden}))),
      positions_(to_compute_device(
          (w / "embeddings" / "position_embeddings").get("weight", {config.positions, config.hidden}))),
      norm_(w / "embeddings" / "LayerNorm", config.hidden, config.eps),
      relative_(
          to_compute_device((w / "encoder" / "relative_attention_bias").get("weight", {kBuckets, config.heads}))) {
  for (int64_t l = 0; l < config.layers; ++l) layers_.push_back(read_layer(w / "encoder" / "layer" / l, config));
  (w / "embeddings").ignore("position_ids");
  (w / "pooler").ignore_all();
}

Tensor Mpnet::operator()(const TokenRows& texts, const HiddenProbe& probe) const {
  // Embeddings: what the token is and where it stands.
  const Tensor word = gather_rows(words_, texts.ids());
  const Tensor position = gather_rows(positions_, position_ids(texts));
  Tensor x = norm_(add(word, position));  // [R, C]
  if (probe) probe(0, x);

  const Segments segments = texts.segments();
  const Tensor bias = attention_bias(relative_, buckets_of(texts.longest()), texts.starts(), texts.attended());
  for (size_t l = 0; l < layers_.size(); ++l) {
    x = layers_[l](x, segments, bias);
    if (probe) probe(int64_t(l) + 1, x);
  }
  return x;
}

}  // namespace sat
