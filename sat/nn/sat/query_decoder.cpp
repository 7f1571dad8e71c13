// The query decoder's layers.
#include "sat/nn/sat/query_decoder.h"

#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

Tensor positional_code(const std::array<int64_t, 3>& grid, int64_t channels) {
  const int64_t segment = 2 * ((channels + 5) / 6);
  Tensor code({grid[0] * grid[1] * grid[2], channels});
  parallel_for(code.shape[0], 1, [&](int64_t token, int64_t) {
    const int64_t at[3] = {token / (grid[1] * grid[2]), token / grid[2] % grid[1], token % grid[2]};
    float* row = code.data<float>() + token * channels;
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t r = c % segment;
      const float exponent = float(r / 2 * 2) / float(segment);
      const float angle = float(at[c / segment]) * (1.f / std::pow(10000.f, exponent));
      row[c] = r % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  });
  return code;
}

namespace {

/// One third of torch.nn.MultiheadAttention's packed input projection: rows are query, key, value.
Linear projection(const Tensor& weight, const Tensor& bias, int64_t third, int64_t width) {
  Linear part;
  part.weight = pack_linear(weight.slice(third * width, (third + 1) * width));
  part.bias = resident(bias.slice(third * width, (third + 1) * width).clone());
  return part;
}

}  // namespace

QueryDecoder::QueryDecoder(const Weights& w, int64_t width, int64_t heads, int64_t layers, int64_t feedforward)
    : norm_(w / "norm", width), heads_(heads) {
  SAT_CHECK(heads > 0 && width % heads == 0, w.source(), ": query width ", width, " does not divide into ", heads,
            " heads");
  for (int64_t l = 0; l < layers; ++l) {
    const Weights from = w / "layers" / l, attention = from / "multihead_attn";
    const Tensor weight = attention.get("in_proj_weight", {3 * width, width});
    const Tensor bias = attention.get("in_proj_bias", {3 * width});
    Layer layer;
    layer.norm2 = LayerNorm(from / "norm2", width);
    layer.norm3 = LayerNorm(from / "norm3", width);
    layer.query = projection(weight, bias, 0, width);
    layer.key = projection(weight, bias, 1, width);
    layer.value = projection(weight, bias, 2, width);
    layer.out = Linear(attention / "out_proj", width, width);
    layer.linear1 = Linear(from / "linear1", width, feedforward);
    layer.linear2 = Linear(from / "linear2", feedforward, width);
    (from / "norm1").get("weight", {width});  // Differs: checked for shape, then dropped, since nothing reads it
    (from / "norm1").get("bias", {width});
    layers_.push_back(std::move(layer));
  }
}

ImageMemory QueryDecoder::remember(const Tensor& tokens, const Tensor& position) const {
  const Tensor placed = add(tokens, position);
  ImageMemory memory;
  for (const Layer& layer : layers_) {
    memory.keys.push_back(layer.key(placed));
    memory.values.push_back(layer.value(tokens));
  }
  return memory;
}

Tensor QueryDecoder::operator()(Tensor x, const ImageMemory& memory) const {
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const Tensor asked = layer.query(layer.norm2(x));
    x = add(x, layer.out(attention(asked, memory.keys[l], memory.values[l], heads_)));
    x = add(x, layer.linear2(layer.linear1(layer.norm3(x), Activation::relu)));
  }
  return norm_(x);
}

}  // namespace sat
