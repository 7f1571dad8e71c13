// Private. ECAMP's text branch (ecamp.md section 4): BERT whose embeddings first meet the image in the multi-scale
// context fusion layer, and the head that names masked words.
#pragma once

#include "sat/nn/text/bert.h"

namespace sat {

/// What the image gives to the reports: its tokens at the fine scale, one behind another, and their mean at the coarse.
struct ImageContext {
  Tensor tokens;                // [B * seen, C]
  Tensor pooled;                // [B, C], "gap"
  std::vector<int64_t> starts;  // where each image's tokens begin, and the end
};

/// Self-attention; attention to the image's tokens, to which the pooled token is added; feed-forward. Each with the
/// norm behind it:
///   a = LN(x + O(self-attention(x))), c = attention(Q a, K tokens, V tokens) + G pooled, b = LN(a + D c),
///   f = LN(b + W2 gelu(W1 b)).
class ContextFusion {
 public:
  ContextFusion(const Weights& w, const TextBackboneConfig& config);
  Tensor operator()(const Tensor& x, const TokenRows& texts, const Tensor& bias, const ImageContext& image) const;

 private:
  PostNormLayer layer_;
  Linear query_, key_, value_, pooled_, out_;
  LayerNorm norm_;
};

class ReportEncoder {
 public:
  /// Reads bert.* and cls.predictions.* below `w`. The fusion layer may have its older name, cross_attn_layer. The
  /// pooler is published and unused; predictions.bias and predictions.decoder.bias are one tensor, and the first is
  /// read where both are there.
  /// QUIRK: predictions.decoder.weight is not the word table, as BERT's is: the two were cut apart before training.
  ReportEncoder(const Weights& w, const TextBackboneConfig& config);

  struct Hidden {
    Tensor fused;  // [R, C] behind the fusion layer
    Tensor last;   // [R, C] behind BERT's last layer
  };
  /// A report an image, in the images' order.
  Hidden operator()(const TokenRows& reports, const ImageContext& image) const;
  /// Scores of all words: [R, C] -> [R, vocabulary].
  Tensor logits(const Tensor& hidden) const;

 private:
  Bert bert_;
  ContextFusion fusion_;
  Linear transform_, decoder_;
  LayerNorm transform_norm_;
};

}  // namespace sat
