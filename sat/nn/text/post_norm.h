// Private. What BERT and MPNet share: tokens of several texts in one table, and the post-norm transformer layer.
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

  int64_t texts() const { return int64_t(starts_.size()) - 1; }
  int64_t rows() const { return starts_.back(); }
  int64_t first(int64_t text) const { return starts_[size_t(text)]; }
  int64_t length(int64_t text) const { return starts_[size_t(text) + 1] - starts_[size_t(text)]; }
  int64_t longest() const;
  const std::vector<int64_t>& ids() const { return ids_; }
  const std::vector<int64_t>& starts() const { return starts_; }      // a row number a text, and the end
  const std::vector<uint8_t>& attended() const { return attended_; }  // a flag a row
  bool all_attended() const;
  Segments segments() const { return {starts_, starts_}; }

 private:
  std::vector<int64_t> ids_;
  std::vector<uint8_t> attended_;
  std::vector<int64_t> starts_{0};
};

/// LN(x + O(attention(Q x, K x, V x))). Published under two sets of names, so each model fills its own.
struct PostNormAttention {
  Linear query, key, value, out;
  LayerNorm norm;
  int64_t heads = 1;

  /// x [R, C] -> [R, C]; bias as attention() takes it.
  Tensor operator()(const Tensor& x, const Segments& texts, const Tensor& bias) const;
};

/// LN(x + W2 gelu(W1 x)).
struct PostNormMlp {
  Linear up, down;
  LayerNorm norm;

  Tensor operator()(const Tensor& x) const;  // [R, C] -> [R, C]
};

/// A whole layer: the one behind the other.
struct PostNormLayer {
  PostNormAttention attention;
  PostNormMlp mlp;

  Tensor operator()(const Tensor& x, const Segments& texts, const Tensor& bias) const {
    return mlp(attention(x, texts, bias));
  }
};

/// Sizes of a text backbone, and the one constant in which its layer norms differ.
struct TextBackboneConfig {
  int64_t vocabulary = 0, hidden = 0, layers = 0, heads = 0, feedforward = 0, positions = 0;
  float eps = 1e-12f;
};

/// Hears the hidden states [R, C]: step 0 after the embeddings, step l after layer l.
using HiddenProbe = std::function<void(int64_t step, const Tensor& hidden)>;

}  // namespace sat
