// The loader: the same samples for any number of workers, processes and beginnings; errors arrive; it does not run off.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "sat/nn/train/data/sample_loader.h"

using namespace sat;

namespace {

/// A sample that says which it is, made in a time that differs from one to the next.
TrainingSample numbered(int64_t step, int64_t item) {
  std::this_thread::sleep_for(std::chrono::microseconds((step * 7 + item * 3) % 5 * 100));
  TrainingSample sample;
  sample.case_id = std::to_string(step) + "." + std::to_string(item);
  sample.image = full({2, 2, 2}, float(step));
  return sample;
}

std::vector<std::string> ids(SampleLoader& loader, int steps) {
  std::vector<std::string> names;
  for (int i = 0; i < steps; ++i) {
    for (const TrainingSample& sample : loader.next()) names.push_back(sample.case_id);
  }
  return names;
}

LoaderOptions options(int64_t batch, int workers, int64_t first_step = 0) {
  LoaderOptions some;
  some.batch = batch;
  some.workers = workers;
  some.first_step = first_step;
  return some;
}

}  // namespace

TEST_CASE("samples come in the order of steps and places for any number of workers, from any step on") {
  const std::vector<std::string> want{"0.0", "0.1", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1"};
  for (int workers : {1, 2, 5}) {
    SampleLoader loader(numbered, options(2, workers));
    CHECK(ids(loader, 4) == want);
    CHECK(loader.step() == 4);
    SampleLoader resumed(numbered, options(2, workers, 2));
    CHECK(ids(resumed, 2) == std::vector<std::string>(want.begin() + 4, want.end()));
  }
}

TEST_CASE("processes share the places of a step") {
  std::vector<std::vector<std::string>> of_rank;
  for (int64_t rank = 0; rank < 2; ++rank) {
    LoaderOptions some = options(3, 2);
    some.rank = rank;
    some.ranks = 2;
    SampleLoader loader(numbered, some);
    of_rank.push_back(ids(loader, 2));
  }
  CHECK(of_rank[0] == std::vector<std::string>{"0.0", "0.2", "1.0", "1.2"});
  CHECK(of_rank[1] == std::vector<std::string>{"0.1", "1.1"});
}

TEST_CASE("no more samples are made than may wait, and none beyond the last step") {
  std::atomic<int> made = 0;
  LoaderOptions some = options(1, 3);
  some.ahead = 4;
  some.last_step = 5;
  SampleLoader loader(
      [&](int64_t step, int64_t item) {
        ++made;
        return numbered(step, item);
      },
      some);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(made <= 4);
  ids(loader, 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(made <= 6);
  ids(loader, 3);
  CHECK_THROWS_WITH_AS(loader.next(), doctest::Contains("step 6 lies beyond the last one, 5"), Error);
}

TEST_CASE("an error arrives at its step, and the next step can still be had") {
  SampleLoader loader(
      [](int64_t step, int64_t item) {
        if (step == 1 && item == 0) fail("case x of d: gone");
        return numbered(step, item);
      },
      options(2, 2));
  loader.next();
  CHECK_THROWS_WITH_AS(loader.next(), "case x of d: gone", Error);
  CHECK(ids(loader, 1) == std::vector<std::string>{"2.0", "2.1"});
}

TEST_CASE("time in which a step had to wait is counted") {
  SampleLoader loader(
      [](int64_t step, int64_t item) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return numbered(step, item);
      },
      options(1, 1));
  loader.next();
  CHECK(loader.waited_seconds() >= 0.01);
}

TEST_CASE("a loader that is left early ends its threads, and options that cannot be are refused") {
  { SampleLoader loader(numbered, options(4, 3)); }
  LoaderOptions bad = options(1, 1);
  bad.ranks = 2;
  CHECK_THROWS_AS(SampleLoader(numbered, bad), Error);
  bad = options(1, 0);
  CHECK_THROWS_AS(SampleLoader(numbered, bad), Error);
}
