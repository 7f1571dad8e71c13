// Work that is run again and again, and inputs that are brought beside it: on the CPU each run is simply done, and in a
// dry context one run stands for all.
#include "sat/tensor/device/replay.h"

#include <doctest/doctest.h>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

constexpr int64_t kRuns = 5;

/// Adds, and keeps some intermediate results: two results share a buffer, and one is empty.
std::vector<Tensor> some_work(const Tensor& x) {
  const Tensor twice = add(x, x), large = concat_channels({twice, x, x}), sum = add(twice, x);
  return {sum, Tensor(), sum.slice(0, 1)};
}

}  // namespace

TEST_CASE("replayed work on the CPU is done each time, on the input of the time") {
  Replay replay;
  int64_t worked = 0, asked = 0;
  for (int64_t i = 0; i < kRuns; ++i) {
    const Tensor x = field("x" + std::to_string(i), {40, 30}, 1);
    const std::vector<Tensor> results = replay.run(
        [&] {
          ++asked;
          return x;
        },
        [&](const Tensor& input) {
          ++worked;
          CHECK(input.raw() == x.raw());
          return some_work(input);
        });
    REQUIRE(results.size() == 3);
    CHECK(same_bits(results[0], some_work(x)[0]));
    CHECK(results[1].empty());
    CHECK(results[2].buffer == results[0].buffer);
  }
  CHECK(asked == kRuns);
  CHECK(worked == kRuns);
}

TEST_CASE("replayed work in a dry context is counted once and holds what all its runs hold") {
  int64_t peaks[2], lives[2], worked = 0;
  for (const bool dry : {false, true}) {
    Context real(options_of(CpuLevel::plain, 1));
    Context counting(real.dry_run());
    Context& context = dry ? counting : real;
    UseContext use(context);
    const Tensor x({400, 300});
    Replay replay;
    std::vector<Tensor> kept;  // of each run, as blending keeps features
    worked = 0;
    for (int64_t i = 0; i < kRuns; ++i) {
      const std::vector<Tensor> results = replay.run([&] { return x; },
                                                     [&](const Tensor& input) {
                                                       ++worked;
                                                       return some_work(input);
                                                     });
      kept.push_back(results[2]);
      CHECK(results[0].shape == x.shape);
      CHECK(results[2].buffer == results[0].buffer);
      for (size_t j = 0; j < size_t(i); ++j) CHECK(kept[j].buffer != results[0].buffer);
    }
    lives[int(dry)] = context.memory()->live_bytes();
    peaks[int(dry)] = context.memory()->peak_bytes();
  }
  CHECK(worked == 1);
  CHECK(lives[1] == lives[0]);
  CHECK(peaks[1] >= peaks[0]);
  CHECK(peaks[1] <= peaks[0] + CachingAllocator::rounded(400 * 300 * 4));
}

TEST_CASE("what replayed work throws comes back, and the work can be tried again") {
  Replay replay;
  const Tensor x = full({3}, 1);
  bool broken = true;
  const auto work = [&](const Tensor& input) {
    SAT_CHECK(!broken, "broken");
    return std::vector<Tensor>{add(input, input)};
  };
  CHECK_THROWS_WITH_AS(replay.run([&] { return x; }, work), "broken", Error);
  broken = false;
  CHECK(mismatch(replay.run([&] { return x; }, work)[0], full({3}, 2), {}) == "");
}

TEST_CASE("prefetched inputs come in order, each made once, and are counted in a dry context") {
  for (const bool dry : {false, true}) {
    Context real(options_of(CpuLevel::plain, 1));
    Context counting(real.dry_run());
    Context& context = dry ? counting : real;
    UseContext use(context);
    std::vector<int64_t> made;
    Prefetch inputs({2, 5}, kRuns, [&](int64_t i, Tensor& to) {
      CHECK(to.shape == Shape({2, 5}));
      made.push_back(i);
      if (!dry) std::fill_n(to.data<float>(), 10, float(i));
    });
    for (int64_t i = 0; i < kRuns; ++i) {
      const Tensor x = inputs.take(i);
      if (!dry) CHECK(mismatch(x, full({2, 5}, float(i)), {}) == "");
      if (dry) CHECK_THROWS_AS(x.data<float>(), Error);
      inputs.bring_next(i);
    }
    CHECK(made == std::vector<int64_t>{0, 1, 2, 3, 4});
    CHECK(context.memory()->live_bytes() == 0);
    CHECK(context.memory()->peak_bytes() > 0);
  }
}
