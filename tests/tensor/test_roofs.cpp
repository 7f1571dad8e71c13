// The roofs that kernels are held against: figures that can be divided by, from the threads that were asked for.
#include "sat/tensor/roofs/roofs.h"

#include <doctest/doctest.h>
#include <time.h>

#include <cmath>

#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/roofs/tile_roofs.h"
#include "tests/support/amx/emulated_unit.h"
#include "tests/support/amx/tile_emulator.h"
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

TEST_CASE("tile roofs multiply what they are given, on the portable twin and in the code for the processor's tiles") {
  cpu::FedOperands operands;
  uint32_t state = 1;
  const auto random = [&](uint16_t* to, int64_t count) {
    for (; count > 0; --count) *to++ = to_bf16(float((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f).bits;
  };
  random(operands.pixels[0][0], 6 * 18 * 32);
  random(operands.weights[0][0], 9 * cpu::kRoofTile);
  constexpr int64_t kSteps = 4;  // the three taps along the pixels, and the first once more
  const auto value = [](uint16_t bits) { return double(to_float(bf16{bits})); };
  double fed = 0, resident = 0;
  for (int64_t i = 0; i < kSteps * 4 * 3 * 16; ++i) {
    const int64_t tap = i / 192 % 3, row = i / 48 % 4, down = i / 16 % 3, pixel = i % 16;
    for (int64_t k = 0; k < cpu::kRoofTile; ++k) {  // weights are pairs of inputs for each output
      const int64_t input = k / 32 * 2 + k % 2;
      fed += value(operands.pixels[row + down][tap + pixel][input]) * value(operands.weights[tap][down][k]);
    }
  }
  for (int64_t i = 0; i < 16 * cpu::kRoofTile; ++i) {
    const int64_t k = i % cpu::kRoofTile, input = k / 32 * 2 + k % 2;
    resident += 6 * kSteps * value(operands.weights[0][0][i / 512 * 32 + input]) * value(operands.weights[0][1][k]);
  }
  cpu::EmulatedUnit unit{cpu::TileConfiguration()};
  unit.may_touch(&operands, sizeof operands);
  CHECK(cpu::loaded_products(unit, operands, kSteps) == doctest::Approx(fed).epsilon(1e-5));
  CHECK(cpu::resident_products(unit, operands.weights[0][0], kSteps) == doctest::Approx(resident).epsilon(1e-5));
  const test::TilesHere tiles;
  if (!tiles.run) {
    MESSAGE("only the twin ran: this processor has neither AMX nor the AVX-512 that an emulation of its tiles needs");
    return;
  }
  CHECK(cpu::fed_products(operands, kSteps) == cpu::loaded_products(unit, operands, kSteps));
  CHECK(cpu::tile_products(operands.weights[0][0], kSteps) ==
        cpu::resident_products(unit, operands.weights[0][0], kSteps));
}
