// Token tables, attention bounds and the shared layer.
#include "sat/nn/text/post_norm.h"

#include <algorithm>

namespace sat {

void TokenRows::append(const std::vector<int64_t>& ids, const std::vector<uint8_t>& attended) {
  SAT_CHECK(!ids.empty(), "a text without tokens: even an empty one has its start and end");
  SAT_CHECK(attended.empty() || attended.size() == ids.size(), "attention flags for ", attended.size(),
            " tokens, the text has ", ids.size());
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  if (attended.empty()) {
    attended_.resize(ids_.size(), 1);
  } else {
    attended_.insert(attended_.end(), attended.begin(), attended.end());
  }
  first_.push_back(int64_t(ids_.size()));
}

bool TokenRows::attends_to_all(int64_t text) const {
  const auto begin = attended_.begin() + first(text);
  return std::all_of(begin, begin + length(text), [](uint8_t flag) { return flag != 0; });
}

AttentionBias attention_bias(const TokenRows& texts, int64_t heads,
                             const std::function<float(int64_t head, int64_t i, int64_t j)>& relative) {
  constexpr float kNever = -1e30f;
  AttentionBias biases;
  for (int64_t text = 0; text < texts.texts(); ++text) {
    if (!relative && texts.attends_to_all(text)) {
      biases.emplace_back();
      continue;
    }
    const int64_t T = texts.length(text), first = texts.first(text);
    Tensor bias({heads, T, T});
    float* out = bias.data<float>();
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t i = 0; i < T; ++i) {
        for (int64_t j = 0; j < T; ++j) {
          *out++ = (relative ? relative(head, i, j) : 0.f) + (texts.attends(first + j) ? 0.f : kNever);
        }
      }
    }
    biases.push_back(resident(bias));
  }
  return biases;
}

namespace {

/// Attention inside each text: q, k, v [R, C] -> [R, C].
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const TokenRows& texts, int64_t heads,
              const AttentionBias& bias) {
  Tensor joined = empty_like(q);
  for (int64_t text = 0; text < texts.texts(); ++text) {
    const int64_t first = texts.first(text), last = first + texts.length(text);
    const Tensor one =
        attention(q.slice(first, last), k.slice(first, last), v.slice(first, last), heads, bias[size_t(text)]);
    copy(joined.slice(first, last), one);
  }
  return joined;
}

}  // namespace

Tensor PostNormLayer::operator()(const Tensor& x, const TokenRows& texts, const AttentionBias& bias) const {
  const Tensor mixed = attend(query(x), key(x), value(x), texts, heads, bias);
  const Tensor a = attention_norm(add(x, out(mixed)));
  return output_norm(add(a, down(up(a, Activation::gelu))));
}

}  // namespace sat
