// Private. The learning rate of each step: warm-up, then half a cosine, in stages that start anew (spec k.2).
#pragma once

#include <cstdint>
#include <vector>

namespace sat {

/// A run of steps: the rate grows linearly to `rate` over the warm-up, then falls along half a cosine to about 0.
struct RateStage {
  int64_t steps = 0, warm_up = 0;
  double rate = 0;
};

/// Stages one after the other. SAT was trained with one: 200000 steps, 20000 of them warm-up, rate 1e-4.
class RateSchedule {
 public:
  /// Throws Error unless each stage has steps, a warm-up shorter than them, and a finite rate of 0 or more.
  explicit RateSchedule(std::vector<RateStage> stages);

  int64_t steps() const;            // of all stages
  double rate(int64_t step) const;  // of steps 1 ... steps(); throws Error for others
  const std::vector<RateStage>& stages() const { return stages_; }

 private:
  std::vector<RateStage> stages_;
};

}  // namespace sat
