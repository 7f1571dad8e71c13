// Attention: the names of its variants, what each can compute, which one is taken, and the op.
#include "sat/cuda/attention/attention.h"

#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

constexpr AttentionVariant kVariants[] = {AttentionVariant::automatic, AttentionVariant::plain,
                                          AttentionVariant::fused};

}  // namespace

const char* name_of(AttentionVariant variant) {
  constexpr const char* kNames[] = {"automatic", "plain", "fused"};
  return kNames[size_t(variant)];
}

AttentionVariant parse_attention_variant(const std::string& name) {
  std::string known;
  for (AttentionVariant variant : kVariants) {
    if (name == name_of(variant)) return variant;
    known += (known.empty() ? "" : ", ") + std::string(name_of(variant));
  }
  fail("unknown attention variant '", name, "'; it is one of ", known);
}

std::string attention_refusal(AttentionVariant variant, const Attention& sizes, const DeviceLimits& limits) {
  switch (variant) {
    case AttentionVariant::automatic: return "";
    case AttentionVariant::plain: return attention_plain_refusal(sizes, limits);
    case AttentionVariant::fused: return attention_fused_refusal(sizes, limits);
  }
  fail("unknown variant ", int(variant));
}

void attention(const Stream& stream, AttentionVariant variant, const Attention& sizes) {
  if (variant == AttentionVariant::automatic) {
    const bool fused = attention_fused_refusal(sizes, stream.limits).empty();
    variant = fused ? AttentionVariant::fused : AttentionVariant::plain;
  }
  const std::string refusal = attention_refusal(variant, sizes, stream.limits);
  SAT_CHECK(refusal.empty(), "attention by ", name_of(variant), ": ", refusal);
  if (variant == AttentionVariant::fused) return attention_fused(stream, sizes);
  attention_plain(stream, sizes);
}

void CudaBackend::attention(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                            const Segments& segments, const Tensor& bias) {
  const bool one_each = bias.shape.rank() == 1;  // biases of segments lie one behind another
  const Stream& stream = runtime_.stream();
  const float* of_segment = bias.address<float>();
  Attention sizes{};
  sizes.channels = q.shape[1];
  sizes.heads = heads;
  sizes.products = feature_type();
  for (size_t i = 0; i < size_t(segments.count()); ++i) {
    const int64_t query = segments.queries[i] * sizes.channels, key = segments.keys[i] * sizes.channels;
    sizes.queries = segments.queries[i + 1] - segments.queries[i];
    sizes.tokens = segments.keys[i + 1] - segments.keys[i];
    sizes.q = q.address<float>() + query;
    sizes.k = k.address<float>() + key;
    sizes.v = v.address<float>() + key;
    sizes.y = y.address<float>() + query;
    sizes.bias = of_segment;
    cuda::attention(stream, attention_, sizes);
    if (one_each && of_segment) of_segment += heads * sizes.queries * sizes.tokens;
  }
}

}  // namespace sat::cuda
