// Private. The folder in which cases wait for training, each read from its scan and label maps once.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sat/io/datasets/cache/cached_case.h"
#include "sat/io/datasets/labelled_case.h"
#include "sat/io/scans/preprocess.h"

namespace sat {

/// How scans of a modality are prepared.
using PreprocessOf = std::function<PreprocessOptions(const std::string& modality)>;

class CaseCache {
 public:
  /// The folder is made where there is none.
  explicit CaseCache(std::string folder, PreprocessOf preprocess = published_preprocess);

  /// The case. It is read from its sources where the cache has none of it, a damaged one, or one of other files (their
  /// sizes and times of change count), another list entry or another preparation. Throws Error, naming case and file,
  /// for what is wrong with a source.
  CachedCase open(const LabelledCase& one) const;
  /// The same without looking whether sources changed since; what the loader does in a run.
  CachedCase reopen(const LabelledCase& one) const;
  /// Reads the case from its sources whatever the cache has, as where a part of its file turns out to be damaged.
  CachedCase remake(const LabelledCase& one) const;

  std::string path_of(const LabelledCase& one) const;  // of its file

 private:
  std::string key_of(const LabelledCase& one) const;
  PreprocessOptions options_of(const LabelledCase& one) const;

  std::string folder_;
  PreprocessOf preprocess_;
};

/// What drawing cases needs to know of one.
struct PreparedCase {
  LabelledCase source;
  std::array<int64_t, 3> size{};
  VoxelBox foreground;     // of all structures; empty without any voxel
  int64_t structures = 0;  // labelled ones
  std::vector<std::string> warnings;
};

/// Brings all cases into the cache, one after the other, on the context's threads. `on_case` hears of each before it is
/// looked at (its number and the case), and may throw to stop.
std::vector<PreparedCase> prepare_cases(const CaseCache& cache, const std::vector<LabelledCase>& cases,
                                        const OnCaseProblem& on_problem,
                                        const std::function<void(int64_t, const LabelledCase&)>& on_case = {});

}  // namespace sat
