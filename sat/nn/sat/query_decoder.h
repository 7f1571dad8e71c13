// Private. SAT's query decoder: prompts look at the image through cross-attention (spec c, d).
// Knows tokens and queries; where the tokens come from is sat_model.h's matter.
#pragma once

#include <array>
#include <vector>

#include "sat/nn/layers.h"

namespace sat {

/// 3-D sinusoid of the token grid (positional_encodings 6.0.1): the channels fall into three segments, one an axis, of
/// sin/cos pairs at frequencies 10000^(-2m/segment). Returns [h*w*d, channels], tokens in row-major order.
Tensor positional_code(const std::array<int64_t, 3>& grid, int64_t channels);

/// What the decoder needs of a batch of images, made once however many prompts there are: per layer, keys of tokens +
/// position and values of tokens, both [images * tokens, Q].
struct ImageMemory {
  int64_t images = 0, tokens = 0;  // `tokens` of one image
  std::vector<Tensor> keys, values;
};

/// Identical pre-norm layers of cross-attention and ReLU feed-forward, then a layer norm. There is no attention between
/// queries, so a query's result does not depend on the others. `norm1` is in the checkpoint and never used.
class QueryDecoder {
 public:
  QueryDecoder(const Weights& w, int64_t width, int64_t heads, int64_t layers, int64_t feedforward);

  ImageMemory project_memory(const Tensor& tokens, const Tensor& position) const;  // [B, T, Q] and [T, Q]
  /// [B, N, Q] -> [B, N, Q]. `dropped`: what training drops of the attention's weights, of its result, and in and
  /// behind the feed-forward, each place of each layer by a key of its own.
  Tensor operator()(const Tensor& queries, const ImageMemory& memory, const Dropout& dropped = {}) const;

 private:
  struct Layer {
    LayerNorm norm2, norm3;
    Linear query, key, value, out, linear1, linear2;
  };
  std::vector<Layer> layers_;
  LayerNorm norm_;
  int64_t heads_;
};

}  // namespace sat
