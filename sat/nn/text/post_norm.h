// What BERT and MPNet share: tokens of several texts in one table, and the post-norm transformer layer.
// Knows neither model's embeddings (bert.h, mpnet.h) nor words (text_encoder.h).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "sat/nn/layers.h"

namespace sat {

/// The tokens of one or more texts, one behind another. Dense layers see all rows at once; only attention looks at the
/// bounds. A row's result depends on its own text alone, so any grouping of texts gives the same bits.
class TokenRows {
 public:
  /// Appends a text. `attended` says which tokens may be looked at, one flag an id; empty: all of them.
  void append(const std::vector<int64_t>& ids, const std::vector<uint8_t>& attended = {});

  int64_t texts() const { return int64_t(first_.size()) - 1; }
  int64_t rows() const { return first_.back(); }
  int64_t first(int64_t text) const { return first_[size_t(text)]; }
  int64_t length(int64_t text) const { return first_[size_t(text) + 1] - first_[size_t(text)]; }
  const std::vector<int64_t>& ids() const { return ids_; }
  bool attends(int64_t row) const { return attended_[size_t(row)] != 0; }
  bool attends_to_all(int64_t text) const;

 private:
  std::vector<int64_t> ids_;
  std::vector<uint8_t> attended_;
  std::vector<int64_t> first_{0};  // a row number a text, and the end
};

/// What attention adds to its scaled products, one [heads, T, T] tensor a text; empty for nothing.
using AttentionBias = std::vector<Tensor>;

/// Keys that may not be looked at get -1e30, which softmax turns into exactly 0. `relative`, if set, gives the bias of
/// a head for key j seen from query i.
AttentionBias attention_bias(const TokenRows& texts, int64_t heads,
                             const std::function<float(int64_t head, int64_t i, int64_t j)>& relative = {});

/// a = LN(x + O(attention(Q x, K x, V x))), y = LN(a + W2 gelu(W1 a)). Published under two sets of names, so each model
/// fills its own.
struct PostNormLayer {
  Linear query, key, value, out;
  LayerNorm attention_norm;
  Linear up, down;
  LayerNorm output_norm;
  int64_t heads = 1;

  Tensor operator()(const Tensor& x, const TokenRows& texts, const AttentionBias& bias) const;  // [R, C] -> [R, C]
};

/// Sizes of a text backbone, and the one constant in which its layer norms differ.
struct TextBackboneConfig {
  int64_t vocabulary = 0, hidden = 0, layers = 0, heads = 0, feedforward = 0, positions = 0;
  float eps = 1e-12f;
};

/// Hears the hidden states [R, C]: step 0 after the embeddings, step l after layer l.
using HiddenProbe = std::function<void(int64_t step, const Tensor& hidden)>;

}  // namespace sat
