// Attention: the names of its variants, what each can compute, which one is taken, and the op.
#include "sat/cuda/attention/attention.h"

#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {

constexpr AttentionVariant kVariants[] = {AttentionVariant::automatic, AttentionVariant::plain, AttentionVariant::tiled,
                                          AttentionVariant::fused};

/// The best that can compute this. Of a segment's sizes only the keys have a say: a query's bits depend on no other.
AttentionVariant choose_attention(const Attention& sizes, const DeviceLimits& limits) {
  for (AttentionVariant variant : {AttentionVariant::fused, AttentionVariant::tiled}) {
    if (attention_refusal(variant, sizes, limits).empty()) return variant;
  }
  return AttentionVariant::plain;
}

}  // namespace

const char* name_of(AttentionVariant variant) {
  constexpr const char* kNames[] = {"automatic", "plain", "tiled", "fused"};
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
    case AttentionVariant::tiled: return attention_tiled_refusal(sizes, limits);
    case AttentionVariant::fused: return attention_fused_refusal(sizes, limits);
  }
  fail("unknown variant ", int(variant));
}

void attention(const Stream& stream, AttentionVariant variant, const Attention& sizes) {
  if (variant == AttentionVariant::automatic) variant = choose_attention(sizes, stream.limits);
  const std::string refusal = attention_refusal(variant, sizes, stream.limits);
  SAT_CHECK(refusal.empty(), "attention by ", name_of(variant), ": ", refusal);
  if (variant == AttentionVariant::fused) return attention_fused(stream, sizes);
  if (variant == AttentionVariant::tiled) return attention_tiled(stream, sizes);
  attention_plain(stream, sizes);
}

void CudaBackend::attention(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                            const Segments& segments, const Tensor& bias) {
  const bool one_each = bias.shape.rank() == 1;  // biases of segments lie one behind another
  const Stream& stream = runtime_.stream();
  const float* of_segment = bias.address<float>();
  const Tensor regions = segments.regions.empty() ? Tensor() : runtime_.uploaded(segments.regions);
  Attention sizes{};
  sizes.channels = q.shape[1];
  sizes.heads = heads;
  sizes.products = feature_type();
  const auto queries = [&](size_t i) { return segments.queries[i + 1] - segments.queries[i]; };
  const auto tokens = [&](size_t i) { return segments.keys[i + 1] - segments.keys[i]; };
  const auto all = size_t(segments.count());
  for (size_t i = 0, end = 0; i < all; i = end) {
    const int64_t query = segments.queries[i] * sizes.channels, key = segments.keys[i] * sizes.channels;
    sizes.queries = queries(i);
    sizes.tokens = tokens(i);
    for (end = i + 1; end < all && queries(end) == sizes.queries && tokens(end) == sizes.tokens;) ++end;
    sizes.segments = int64_t(end - i);
    sizes.bias_pitch = one_each ? heads * sizes.queries * sizes.tokens : 0;
    sizes.q = q.address<float>() + query;
    sizes.k = k.address<float>() + key;
    sizes.v = v.address<float>() + key;
    sizes.y = y.address<float>() + query;
    sizes.bias = of_segment;
    sizes.regions = regions.empty() ? nullptr : regions.address<uint8_t>() + segments.queries[i];
    cuda::attention(stream, attention_, sizes);
    if (of_segment) of_segment += sizes.segments * sizes.bias_pitch;
  }
}

}  // namespace sat::cuda
