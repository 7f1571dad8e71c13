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

void for_equal_segments(const Attention& all, const Segments& segments, bool bias_of_each,
                        const std::function<void(const Attention& sizes, const AttentionPlace& place)>& body) {
  Attention sizes = all;
  AttentionPlace place{};
  const auto queries = [&](size_t i) { return segments.queries[i + 1] - segments.queries[i]; };
  const auto tokens = [&](size_t i) { return segments.keys[i + 1] - segments.keys[i]; };
  const auto count = size_t(segments.count());
  for (size_t i = 0, end = 0; i < count; i = end) {
    sizes.queries = queries(i);
    sizes.tokens = tokens(i);
    for (end = i + 1; end < count && queries(end) == sizes.queries && tokens(end) == sizes.tokens;) ++end;
    sizes.segments = int64_t(end - i);
    const int64_t weights = sizes.heads * sizes.queries * sizes.tokens;
    sizes.bias_pitch = bias_of_each ? weights : 0;
    place.query = segments.queries[i] * sizes.channels;
    place.key = segments.keys[i] * sizes.channels;
    sizes.q = all.q + place.query;
    sizes.k = all.k + place.key;
    sizes.v = all.v + place.key;
    if (all.y) sizes.y = all.y + place.query;
    if (all.bias) sizes.bias = all.bias + place.bias;
    if (all.regions) sizes.regions = all.regions + segments.queries[i];
    body(sizes, place);
    place.bias += sizes.segments * sizes.bias_pitch;
    sizes.place += sizes.segments * weights;
  }
}

void CudaBackend::attention(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                            const Segments& segments, const Tensor& bias) {
  attention_with_dropout(y, q, k, v, heads, segments, bias, {});
}

void CudaBackend::attention_with_dropout(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                         const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  const Tensor regions = segments.regions.empty() ? Tensor() : runtime_.uploaded(segments.regions);
  Attention all{};
  all.q = q.address<float>();
  all.k = k.address<float>();
  all.v = v.address<float>();
  all.bias = bias.address<float>();
  all.y = y.address<float>();
  all.channels = q.shape[1];
  all.heads = heads;
  all.products = feature_type();
  all.regions = regions.empty() ? nullptr : regions.address<uint8_t>();
  all.dropped = dropped;
  const AttentionVariant variant = dropped.rate > 0 ? AttentionVariant::plain : attention_;
  for_equal_segments(all, segments, bias.shape.rank() == 1, [&](const Attention& sizes, const AttentionPlace&) {
    cuda::attention(runtime_.stream(), variant, sizes);
  });
}

}  // namespace sat::cuda
