// The fusion layer, BERT behind it, and the words' head.
#include "sat/nn/image/ecamp/pretraining/report_encoder.h"

namespace sat {

namespace {

Weights fusion_place(const Weights& bert) {
  const Weights older = bert / "cross_attn_layer";
  return older.has_any() ? older : bert / "context_fusion_layer";
}

/// The words' matrix, and the bias under either of its names.
Linear word_scores(const Weights& predictions, const TextBackboneConfig& config) {
  const Weights decoder = predictions / "decoder";
  const bool inside = !predictions.has("bias") && decoder.has("bias");
  const Tensor bias = (inside ? decoder : predictions).get("bias", {config.vocabulary});
  decoder.ignore("bias");
  return Linear(decoder.get("weight", {config.vocabulary, config.hidden}), bias);
}

}  // namespace

ContextFusion::ContextFusion(const Weights& w, const TextBackboneConfig& config)
    : layer_(read_bert_layer(w, config)),
      query_(w / "cross_self_attention" / "query", config.hidden, config.hidden),
      key_(w / "cross_self_attention" / "key", config.hidden, config.hidden),
      value_(w / "cross_self_attention" / "value", config.hidden, config.hidden),
      pooled_(w / "gap_mlp", config.hidden, config.hidden),
      out_(w / "out_layer" / "dense", config.hidden, config.hidden),
      norm_(w / "out_layer" / "LayerNorm", config.hidden, config.eps) {}

Tensor ContextFusion::operator()(const Tensor& x, const TokenRows& texts, const Tensor& bias,
                                 const ImageContext& image) const {
  const Tensor a = layer_.attention(x, texts.segments(), bias);
  const Segments pairs{texts.starts(), image.starts};
  const Tensor fine = attention(query_(a), key_(image.tokens), value_(image.tokens), layer_.attention.heads, pairs);
  std::vector<int64_t> report(size_t(texts.rows()));
  for (int64_t text = 0; text < texts.texts(); ++text) {
    for (int64_t i = 0; i < texts.length(text); ++i) report[size_t(texts.first(text) + i)] = text;
  }
  const Tensor c = add(fine, gather_rows(pooled_(image.pooled), report));
  return layer_.mlp(norm_(add(a, out_(c))));
}

ReportEncoder::ReportEncoder(const Weights& w, const TextBackboneConfig& config)
    : bert_(w / "bert", config),
      fusion_(fusion_place(w / "bert"), config),
      transform_(w / "cls" / "predictions" / "transform" / "dense", config.hidden, config.hidden),
      decoder_(word_scores(w / "cls" / "predictions", config)),
      transform_norm_(w / "cls" / "predictions" / "transform" / "LayerNorm", config.hidden, config.eps) {}

ReportEncoder::Hidden ReportEncoder::operator()(const TokenRows& reports, const ImageContext& image) const {
  SAT_CHECK(reports.texts() == image.pooled.shape[0], "report encoder: ", reports.texts(), " reports for ",
            image.pooled.shape[0], " images");
  const Tensor bias = bert_.mask_bias(reports);
  Hidden hidden;
  hidden.fused = fusion_(bert_.embed(reports), reports, bias, image);
  hidden.last = bert_.encode(hidden.fused, reports, bias);
  return hidden;
}

Tensor ReportEncoder::logits(const Tensor& hidden) const {
  return decoder_(transform_norm_(transform_(hidden, Activation::gelu)));
}

}  // namespace sat
