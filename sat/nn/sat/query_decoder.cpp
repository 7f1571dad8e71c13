// The query decoder's layers.
#include "sat/nn/sat/query_decoder.h"

#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

Tensor positional_code(const std::array<int64_t, 3>& grid, int64_t channels) {
  const int64_t segment = 2 * ((channels + 5) / 6);
  Tensor code({grid[0] * grid[1] * grid[2], channels});
  float* rows = code.address<float>();
  parallel_for(code.shape[0], 1, [&](int64_t token, int64_t) {
    const int64_t at[3] = {token / (grid[1] * grid[2]), token / grid[2] % grid[1], token % grid[2]};
    float* row = rows + token * channels;
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

constexpr uint64_t kKeyStep = 0xD1B54A32D192ED03;  // odd: places have keys far apart

/// One third of torch.nn.MultiheadAttention's packed input projection: rows are query, key, value.
Linear projection(const Weights& w, const Tensor& weight, const Tensor& bias, int64_t third, int64_t width) {
  const int64_t first = third * width, last = first + width;
  return Linear(slice(weight, first, last), rows_of(w, bias, first, last));
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
    layer.query = projection(attention, weight, bias, 0, width);
    layer.key = projection(attention, weight, bias, 1, width);
    layer.value = projection(attention, weight, bias, 2, width);
    layer.out = Linear(attention / "out_proj", width, width);
    layer.linear1 = Linear(from / "linear1", width, feedforward);
    layer.linear2 = Linear(from / "linear2", feedforward, width);
    (from / "norm1").get("weight", {width});  // Differs: checked for shape and not kept, since nothing reads it
    (from / "norm1").get("bias", {width});
    layers_.push_back(std::move(layer));
  }
}

ImageMemory QueryDecoder::project_memory(const Tensor& tokens, const Tensor& position) const {
  ImageMemory memory{tokens.shape[0], tokens.shape[1], {}, {}};
  const Shape rows({memory.images * memory.tokens, tokens.shape[2]});
  const Tensor placed = reshape(add(tokens, position), rows), plain = reshape(tokens, rows);
  for (const Layer& layer : layers_) {
    memory.keys.push_back(layer.key(placed));
    memory.values.push_back(layer.value(plain));
  }
  return memory;
}

Tensor QueryDecoder::operator()(const Tensor& queries, const ImageMemory& memory, const Dropout& dropped) const {
  const Shape batched = queries.shape;
  SAT_CHECK(batched.rank() == 3 && batched[0] == memory.images, "query decoder: queries of shape ", batched, " for ",
            memory.images, " images");
  const Segments segments = equal_segments(memory.images, batched[1], memory.tokens);
  Tensor x = reshape(queries, {batched[0] * batched[1], batched[2]});
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const auto drops = [&](uint64_t place) { return Dropout{dropped.rate, dropped.key + (4 * l + place) * kKeyStep}; };
    const Tensor asked = layer.query(layer.norm2(x));
    const Tensor seen = attention(asked, memory.keys[l], memory.values[l], heads_, segments, {}, drops(0));
    x = add(x, dropout(layer.out(seen), drops(1)));
    const Tensor inner = dropout(layer.linear1(layer.norm3(x), Activation::relu), drops(2));
    x = add(x, dropout(layer.linear2(inner), drops(3)));
  }
  return reshape(norm_(x), batched);
}

}  // namespace sat
