// Private. BERT (Devlin et al., 2018) as an encoder of short texts: word + position + token type, then post-norm
// layers. Knows ids, not words (io/words/wordpiece.h), and nothing of SAT (text_encoder.h). The pooler is published and
// unused.
#pragma once

#include "sat/nn/text/post_norm.h"

namespace sat {

/// The sizes of bert-base-uncased and MedCPT-Query-Encoder; layer norms add 1e-12.
TextBackboneConfig bert_base();

/// A layer by BERT's published names: attention.self.*, attention.output.*, intermediate.*, output.* below `w`.
PostNormLayer read_bert_layer(const Weights& w, const TextBackboneConfig& config);

class Bert {
 public:
  /// Reads embeddings.*, encoder.layer.{l}.* below `w`; passes over pooler.* and embeddings.position_ids. Throws Error
  /// for a tensor that is missing or mis-shaped.
  Bert(const Weights& w, const TextBackboneConfig& config);

  /// The last hidden states [R, hidden] of all texts' tokens. Throws Error for an id or a length beyond the tables.
  Tensor operator()(const TokenRows& texts, const HiddenProbe& probe = {}) const;

  /// Its steps, for a model that does something of its own between them: what the tokens are and where they stand
  /// [R, hidden]; the bias that hides what is not attended, or none; the layers.
  Tensor embed(const TokenRows& texts) const;
  Tensor mask_bias(const TokenRows& texts) const;
  Tensor encode(Tensor x, const TokenRows& texts, const Tensor& bias, const HiddenProbe& probe = {}) const;

 private:
  Tensor words_, positions_, type_;  // [vocabulary, hidden], [positions, hidden], [hidden]
  LayerNorm norm_;
  std::vector<PostNormLayer> layers_;
  Tensor no_table_;  // [0, heads]: there is no relative bias
};

}  // namespace sat
