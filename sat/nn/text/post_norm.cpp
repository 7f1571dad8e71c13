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
  starts_.push_back(int64_t(ids_.size()));
}

int64_t TokenRows::longest() const {
  int64_t most = 0;
  for (int64_t text = 0; text < texts(); ++text) most = std::max(most, length(text));
  return most;
}

bool TokenRows::all_attended() const {
  return std::all_of(attended_.begin(), attended_.end(), [](uint8_t flag) { return flag != 0; });
}

Tensor PostNormAttention::operator()(const Tensor& x, const Segments& texts, const Tensor& bias) const {
  return norm(add(x, out(attention(query(x), key(x), value(x), heads, texts, bias))));
}

Tensor PostNormMlp::operator()(const Tensor& x) const { return norm(add(x, down(up(x, Activation::gelu)))); }

}  // namespace sat
