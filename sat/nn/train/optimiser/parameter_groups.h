// Private. Which parameters learn, and how much each of them, by patterns of their published names.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace sat {

/// Whether a name is what the pattern says: `*` stands for any characters, dots included, all else for itself.
bool matches(const std::string& pattern, const std::string& name);

/// What is said of all parameters whose names a pattern matches; what is empty is said by no one here.
struct ParameterGroup {
  std::string pattern;
  std::optional<double> rate;          // times the schedule's
  std::optional<double> weight_decay;  // in place of the optimiser's
  std::optional<bool> frozen;          // they keep their values
};

/// What holds for one parameter.
struct ParameterRule {
  double rate = 1;
  std::optional<double> weight_decay;
  bool frozen = false;
};

/// Groups in order: what a later one says of a name counts for more.
class ParameterGroups {
 public:
  ParameterGroups() = default;
  explicit ParameterGroups(std::vector<ParameterGroup> groups) : groups_(std::move(groups)) {}

  ParameterRule of(const std::string& name) const;
  bool learns(const std::string& name) const { return !of(name).frozen; }

  /// Throws Error naming a pattern that matches none of these names: a misspelt one would change nothing.
  void check(const std::vector<std::string>& names) const;

 private:
  std::vector<ParameterGroup> groups_;
};

}  // namespace sat
