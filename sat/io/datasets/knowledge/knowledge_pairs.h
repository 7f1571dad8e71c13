// Private. Pairs of a label and a text about it, drawn from several sources (spec m.1). Where the random numbers come
// from is the caller's: a stream gives numbers in [0, 1), one after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sat/io/datasets/knowledge/knowledge_files.h"

namespace sat {

/// Texts of equal labels belong together.
struct KnowledgePair {
  std::string label, text;
};

class KnowledgePairs {
 public:
  /// Draws the source with a probability in proportion to round(ratio * source.counted), half to even: a small source
  /// can get none. Throws Error for a ratio that is negative or not finite, and where a source that would be drawn has
  /// no item.
  void add(KnowledgeSource source, double ratio);

  /// The source, then an item of it, then of a relation which end is the label: the target of "name text", or the name
  /// of "text target". Two or three numbers. Throws Error where no source has a share.
  KnowledgePair draw(const std::function<double()>& unit) const;

  const std::vector<KnowledgeSource>& sources() const { return sources_; }
  double share(size_t source) const;  // the probability of a source
  int64_t items() const;              // of all sources that can be drawn

 private:
  std::vector<KnowledgeSource> sources_;
  std::vector<double> up_to_;  // shares of the sources so far, as whole numbers
};

}  // namespace sat
