// The roofs that kernels are held against: figures that can be divided by, from the threads that were asked for.
#include "sat/tensor/roofs/roofs.h"

#include <doctest/doctest.h>
#include <time.h>

#include <cmath>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/levels.h"

using namespace sat;

namespace {

constexpr double kWorked = 0.002;  // seconds of CPU time that mean a thread took part
const RoofOptions kQuick = {0.004, 1 << 20};

double seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

/// CPU time that threads other than the calling one have used.
double time_of_others() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID) - seconds_of(CLOCK_THREAD_CPUTIME_ID); }

ContextOptions options_of(int threads, CpuLevel level) {
  ContextOptions options;
  options.threads = threads;
  options.cpu = level;
  return options;
}

}  // namespace

TEST_CASE("every level has roofs that are finite, above zero and below what no machine reaches") {
  for (CpuLevel level : test::levels()) {
    CAPTURE(name_of(level));
    Context context(options_of(1, level));
    UseContext use(context);
    const Roofs roofs = RoofMeter(kQuick).measure();
    for (double rate : {roofs.fma_flops, roofs.memory_bytes, roofs.cache_bytes}) {
      CHECK(std::isfinite(rate));
      CHECK(rate > 1e6);
      CHECK(rate < 1e15);
    }
  }
}

TEST_CASE("roofs are measured with the context's threads, no more and no fewer") {
  for (int threads : {1, 2}) {
    CAPTURE(threads);
    Context context(options_of(threads, CpuLevel::plain));
    UseContext use(context);
    const RoofMeter meter({0.02, 1 << 20});
    const double before = time_of_others();
    double others = 0;
    for (int tries = 0; tries < 100 && others <= kWorked; ++tries) {  // a busy machine may pass a thread over
      meter.measure();
      others = time_of_others() - before;
      if (threads == 1) break;
    }
    CHECK((others > kWorked) == (threads > 1));
  }
}

TEST_CASE("a measurement stops when the context is cancelled, and a dry context measures nothing") {
  Context context(options_of(1, CpuLevel::plain));
  UseContext use(context);
  const RoofMeter meter(kQuick);
  context.set_cancelled([] { return true; });
  CHECK_THROWS_AS(meter.measure(), Cancelled);

  ContextOptions dry = options_of(1, CpuLevel::plain);
  dry.dry = true;
  Context counting(dry);
  UseContext use_rehearsal(counting);
  CHECK_THROWS_AS(RoofMeter(kQuick).measure(), Error);
}

TEST_CASE("the arrays of the memory copy are counted, and hold what was asked for") {
  Context context(options_of(1, CpuLevel::plain));
  UseContext use(context);
  const int64_t before = context.memory()->live_bytes();
  const RoofMeter meter(kQuick);
  CHECK(context.memory()->live_bytes() - before == 2 << 20);
  CHECK_THROWS_AS(RoofMeter({-1, 1 << 20}), Error);
}
