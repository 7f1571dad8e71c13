// Private. MPNet (Song et al., 2020) as an encoder of short texts: word + position, then post-norm layers whose
// attention has a relative bias that all layers share. Knows ids, not words, and nothing of SAT (text_encoder.h).
#pragma once

#include "sat/nn/text/post_norm.h"

namespace sat {

/// The sizes of all-mpnet-base-v2 and BioLORD-2023-C; layer norms add 1e-5.
TextBackboneConfig mpnet_base();

/// Bucket (0 ... 31) of the key that stands `offset` = j - i places right of the query: 0-15 at the same place or left,
/// 16-31 right. One bucket a place up to 7, then logarithmic, the last from 91 on.
int64_t relative_position_bucket(int64_t offset);

class Mpnet {
 public:
  /// Reads embeddings.*, encoder.* below `w`; passes over pooler.* and embeddings.position_ids. Throws Error for a
  /// tensor that is missing or mis-shaped.
  Mpnet(const Weights& w, const TextBackboneConfig& config);

  /// The last hidden states [R, hidden] of all texts' tokens. Throws Error for an id or a length beyond the tables.
  Tensor operator()(const TokenRows& texts, const HiddenProbe& probe = {}) const;

 private:
  Tensor words_, positions_;  // [vocabulary, hidden], [positions, hidden]; position 1 is that of <pad>
  LayerNorm norm_;
  Tensor relative_;  // [32, heads]
  std::vector<PostNormLayer> layers_;
};

}  // namespace sat
