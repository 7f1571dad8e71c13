// Which part of the body a structure belongs to, from a file: what scores are averaged by.
// Knows names, not scores.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace sat::cli {

/// Regions in the order of a file, each with its structures.
class Regions {
 public:
  Regions() = default;
  /// {"region": ["structure", "modality_structure", ...], ...}, or SAT's terminology_list.json, whose `region_based`
  /// and `abnormal` count. Throws Error for another form.
  explicit Regions(const std::string& path);

  bool empty() const { return regions_.empty(); }
  /// The first region that names the structure, by itself or with the modality before it ("ct_liver"); `abnormal` comes
  /// before all others (spec l.3). Empty where none does.
  std::string of(const std::string& modality, const std::string& structure) const;

 private:
  std::vector<std::pair<std::string, std::vector<std::string>>> regions_;
};

}  // namespace sat::cli
