// Patterns of names.
#include "sat/nn/train/optimiser/parameter_groups.h"

#include <algorithm>

#include "sat/tensor/error.h"

namespace sat {

bool matches(const std::string& pattern, const std::string& name) {
  // Greedy with one step back: where the rest does not fit, the last star takes one more character.
  size_t p = 0, n = 0, star = std::string::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string::npos;
}

ParameterRule ParameterGroups::of(const std::string& name) const {
  ParameterRule rule;
  for (const ParameterGroup& group : groups_) {
    if (!matches(group.pattern, name)) continue;
    rule.rate = group.rate.value_or(rule.rate);
    rule.frozen = group.frozen.value_or(rule.frozen);
    if (group.weight_decay) rule.weight_decay = group.weight_decay;
  }
  return rule;
}

void ParameterGroups::check(const std::vector<std::string>& names) const {
  for (const ParameterGroup& group : groups_) {
    const bool any =
        std::any_of(names.begin(), names.end(), [&](const std::string& name) { return matches(group.pattern, name); });
    SAT_CHECK(any, "the pattern '", group.pattern, "' matches none of the ", names.size(), " parameters",
              names.empty() ? "" : ", such as '" + names.front() + "'");
  }
}

}  // namespace sat
