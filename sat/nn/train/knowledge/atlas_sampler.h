// Private. Draws crops for the text-atlas steps of knowledge pre-training from cached cases (spec m.4): a label, a scan
// that has it, a crop around one of its voxels, and other structures there. Crop (step, item) is a function of the seed
// alone.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sat/io/datasets/cache/case_cache.h"
#include "sat/io/datasets/knowledge/label_pool.h"
#include "sat/nn/train/data/sample.h"

namespace sat {

struct AtlasSamplerOptions {
  std::array<int64_t, 3> crop{288, 288, 96};
  int64_t others = 7;  // structures beside the one that the crop is about, at most
  uint64_t seed = 0;
};

class AtlasSampler {
 public:
  /// Opens every case once, to know which structures have voxels. Throws Error where none has.
  AtlasSampler(CaseCache cache, std::vector<PreparedCase> cases, const AtlasSamplerOptions& options);

  /// Its first structure is the one that was drawn; the others are drawn with replacement, as many as there are, at
  /// most options.others. Not augmented. Differs: the published reader takes any structure whose box meets the crop's,
  /// whose mask can be empty there and then says nothing; here it has a voxel in the crop.
  TrainingSample sample(int64_t step, int64_t item) const;

  const AtlasSamplerOptions& options() const { return options_; }
  const LabelPool& labels() const { return pool_; }
  const std::vector<PreparedCase>& cases() const { return cases_; }

 private:
  CaseCache cache_;
  std::vector<PreparedCase> cases_;
  LabelPool pool_;
  AtlasSamplerOptions options_;
};

}  // namespace sat
