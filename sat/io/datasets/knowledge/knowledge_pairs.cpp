// Sources by their shares, items alike.
#include "sat/io/datasets/knowledge/knowledge_pairs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sat/tensor/error.h"

namespace sat {

void KnowledgePairs::add(KnowledgeSource source, double ratio) {
  SAT_CHECK(std::isfinite(ratio) && ratio >= 0, source.name, ": a ratio of ", ratio, ", needs a number from 0 on");
  const double share = std::nearbyint(ratio * double(source.counted));
  SAT_CHECK(share == 0 || !source.items.empty(), source.name, ": none of ", source.counted,
            " entries has both a name and a text");
  up_to_.push_back(share + (up_to_.empty() ? 0 : up_to_.back()));
  sources_.push_back(std::move(source));
}

KnowledgePair KnowledgePairs::draw(const std::function<double()>& unit) const {
  SAT_CHECK(!up_to_.empty() && up_to_.back() > 0, "knowledge pairs: of ", sources_.size(),
            " sources none has a share (ratio times entries, rounded)");
  const double at = unit() * up_to_.back();
  const auto chosen = std::upper_bound(up_to_.begin(), up_to_.end(), at);
  const std::vector<KnowledgeItem>& items = sources_[size_t(chosen - up_to_.begin())].items;
  const KnowledgeItem& item = items[size_t(unit() * double(items.size()))];
  if (!item.is_relation()) return {item.name, item.text};
  if (unit() < 0.5) return {item.target, item.name + " " + item.text};
  return {item.name, item.text + " " + item.target};
}

double KnowledgePairs::share(size_t source) const {
  const double before = source == 0 ? 0 : up_to_[source - 1];
  return up_to_.back() == 0 ? 0 : (up_to_[source] - before) / up_to_.back();
}

int64_t KnowledgePairs::items() const {
  int64_t count = 0;
  for (size_t s = 0; s < sources_.size(); ++s) count += share(s) > 0 ? int64_t(sources_[s].items.size()) : 0;
  return count;
}

}  // namespace sat
