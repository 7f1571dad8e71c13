// The learning rate: the published values of spec B.10, stages that start anew, and schedules that make no sense.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/nn/train/optimiser/schedule.h"
#include "sat/tensor/error.h"

using namespace sat;

TEST_CASE("the published schedule has the published rates") {
  const RateSchedule schedule({{200000, 20000, 1e-4}});
  CHECK(schedule.rate(1) == doctest::Approx(5e-9).epsilon(1e-12));
  CHECK(schedule.rate(20000) == doctest::Approx(1e-4).epsilon(1e-12));
  CHECK(schedule.rate(110000) == doctest::Approx(5e-5).epsilon(1e-12));
  CHECK(std::abs(schedule.rate(199999) - 7.615436e-15) < 1e-20);
  CHECK(std::abs(schedule.rate(200000) - 7.615347e-15) < 1e-20);
}

TEST_CASE("each stage starts the formula anew") {
  const RateSchedule schedule({{10, 2, 1}, {6, 0, 0.5}});
  const RateSchedule second({{6, 0, 0.5}});
  CHECK(schedule.steps() == 16);
  CHECK(schedule.rate(1) == 0.5);
  CHECK(schedule.rate(2) == 1);
  CHECK(schedule.rate(6) == doctest::Approx(0.5).epsilon(1e-15));
  for (int64_t step = 1; step <= 6; ++step) CHECK(schedule.rate(10 + step) == second.rate(step));
}

TEST_CASE("schedules that make no sense are refused") {
  CHECK_THROWS_WITH(RateSchedule({}), "a learning rate without stages");
  CHECK_THROWS_WITH(RateSchedule({{10, 10, 1}}),
                    "a stage of 10 steps with a warm-up of 10: the warm-up must be shorter than the stage");
  CHECK_THROWS_WITH(RateSchedule({{10, 0, -1}}), "a stage with the learning rate -1, which must be a number from 0 on");
  CHECK_THROWS_WITH(RateSchedule({{10, 0, 1}}).rate(11), "step 11 of a schedule of 10");
}
