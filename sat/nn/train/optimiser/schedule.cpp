// The published formula, which counts steps from 1.
#include "sat/nn/train/optimiser/schedule.h"

#include <cmath>
#include <numbers>

#include "sat/tensor/error.h"

namespace sat {

RateSchedule::RateSchedule(std::vector<RateStage> stages) : stages_(std::move(stages)) {
  SAT_CHECK(!stages_.empty(), "a learning rate without stages");
  for (const RateStage& stage : stages_) {
    SAT_CHECK(stage.steps > 0 && stage.warm_up >= 0 && stage.warm_up < stage.steps, "a stage of ", stage.steps,
              " steps with a warm-up of ", stage.warm_up, ": the warm-up must be shorter than the stage");
    SAT_CHECK(std::isfinite(stage.rate) && stage.rate >= 0, "a stage with the learning rate ", stage.rate,
              ", which must be a number from 0 on");
  }
}

int64_t RateSchedule::steps() const {
  int64_t all = 0;
  for (const RateStage& stage : stages_) all += stage.steps;
  return all;
}

double RateSchedule::rate(int64_t step) const {
  SAT_CHECK(step >= 1 && step <= steps(), "step ", step, " of a schedule of ", steps());
  auto stage = stages_.begin();
  for (; step > stage->steps; ++stage) step -= stage->steps;
  if (step < stage->warm_up) return stage->rate * double(step) / double(stage->warm_up);
  // The published code divides the last step by one more, so that its rate is not 0.
  const int64_t falling = stage->steps - stage->warm_up + (step == stage->steps ? 1 : 0);
  return 0.5 * (1 + std::cos(std::numbers::pi * double(step - stage->warm_up) / double(falling))) * stage->rate;
}

}  // namespace sat
