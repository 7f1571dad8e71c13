// The ladder of attention: names, what each rung can do, and which one is taken.
#include "sat/cuda/attention/attention.h"

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

void attention(const Queue& queue, AttentionVariant variant, const Attention& sizes) {
  if (variant == AttentionVariant::automatic) {
    const bool fused = attention_fused_refusal(sizes, queue.limits).empty();
    variant = fused ? AttentionVariant::fused : AttentionVariant::plain;
  }
  const std::string refusal = attention_refusal(variant, sizes, queue.limits);
  SAT_CHECK(refusal.empty(), "attention by ", name_of(variant), ": ", refusal);
  if (variant == AttentionVariant::fused) return attention_fused(queue, sizes);
  attention_plain(queue, sizes);
}

}  // namespace sat::cuda
