// Private. Draws samples of spec k.4 from cached cases: which case, which crop, which structures; and augments them.
// Sample (step, item) is a function of the seed alone.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sat/io/datasets/cache/case_cache.h"
#include "sat/nn/train/data/sample.h"
#include "sat/nn/train/data/sampling_settings.h"

namespace sat {

struct SamplerOptions {
  std::array<int64_t, 3> crop{288, 288, 64};
  int64_t max_queries = 32;  // structures a sample asks for at most
  uint64_t seed = 0;
  bool augment = true;
};

class CaseSampler {
 public:
  CaseSampler(CaseCache cache, std::vector<PreparedCase> cases, SamplingTable settings, SamplerOptions options);

  /// The sample of place `item` of the batch of `step`. Computed on the context's threads; many may be asked for at
  /// once. Throws Error, naming the case, where its file is damaged and cannot be made anew.
  TrainingSample sample(int64_t step, int64_t item) const;

  /// What one sample holds at most while it is made: crop, masks and their copies; for plans.
  int64_t bytes_of_sample() const;

  const SamplerOptions& options() const { return options_; }
  const std::vector<PreparedCase>& cases() const { return cases_; }
  /// How likely each case is drawn; they add to 1.
  std::vector<double> probabilities() const;

 private:
  CaseCache cache_;
  std::vector<PreparedCase> cases_;
  std::vector<SamplingSettings> settings_;  // of each case
  std::vector<double> up_to_;               // weights of the cases so far
  SamplerOptions options_;
};

}  // namespace sat
