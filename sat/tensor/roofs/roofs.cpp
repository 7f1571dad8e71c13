// Rates are work over wall time of all threads; loops run until the time asked for has passed.
#include "sat/tensor/roofs/roofs.h"

#include <emmintrin.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/parallel.h"
#include "sat/tensor/profile.h"
#include "sat/tensor/roofs/roof_loops.h"

namespace sat {

namespace {

constexpr int64_t kSteps = 4096;                        // of the multiply-add loop in one piece of work
constexpr int64_t kCachePasses = 128;                   // copies of a cached array in one piece of work
constexpr int64_t kBlock = 64;                          // elements; all arrays are multiples of it
constexpr int64_t kCopyPiece = (int64_t(1) << 20) / 4;  // elements of an array in memory that a thread takes at once
constexpr int64_t kSmallestArray = int64_t(64) << 20, kLargestArray = int64_t(1) << 30;

/// In SSE2, which every x86-64 processor has: a product and a sum in place of a fused multiply-add.
float plain_multiply_add(const float* seeds, int64_t steps) {
  constexpr int kChains = 12;
  const __m128 grow = _mm_loadu_ps(seeds), first = _mm_loadu_ps(seeds + cpu::kRoofLanes);
  const __m128 shrink = _mm_loadu_ps(seeds + 2 * cpu::kRoofLanes), second = _mm_loadu_ps(seeds + 3 * cpu::kRoofLanes);
  __m128 x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = _mm_loadu_ps(seeds + (4 + c) * cpu::kRoofLanes);
  for (int64_t step = 0; step < steps; ++step) {
    for (__m128& chain : x) chain = _mm_add_ps(_mm_mul_ps(chain, grow), first);
    for (__m128& chain : x) chain = _mm_add_ps(_mm_mul_ps(chain, shrink), second);
  }
  __m128 sum = x[0];
  for (int c = 1; c < kChains; ++c) sum = _mm_add_ps(sum, x[c]);
  float lanes[4];
  _mm_storeu_ps(lanes, sum);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

void plain_copy(float* to, const float* from, int64_t count) { std::copy_n(from, count, to); }

const cpu::RoofLoops kRoofPlain = {2 * 2 * 12 * 4, plain_multiply_add, plain_copy};

const cpu::RoofLoops& current_loops() {
  switch (Context::current().cpu()) {
    case CpuLevel::plain: return kRoofPlain;
    case CpuLevel::avx2: return cpu::kRoofAvx2;
    case CpuLevel::avx512:
    case CpuLevel::amx: return cpu::kRoofAvx512;
  }
  return kRoofPlain;
}

/// Past the caches, so that no line is read only to be overwritten.
void streaming_copy(float* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    for (int64_t part = 0; part < 16; part += 4) _mm_stream_ps(to + i + part, _mm_loadu_ps(from + i + part));
  }
  _mm_sfence();
}

/// Numbers in [low, high), always the same.
void fill_random(float* to, int64_t count, float low, float high) {
  uint32_t state = 2463534242u;
  for (int64_t i = 0; i < count; ++i) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    to[i] = low + (high - low) * (float(state >> 8) * 0x1p-24f);
  }
}

/// Pieces a second, of as many calls of body(piece) as take about `seconds`.
template <class Body>
double pieces_a_second(double seconds, const Body& body) {
  int64_t count = Context::current().threads().size();
  for (;;) {
    profile::Stopwatch watch;
    parallel_for(count, 1, [&](int64_t piece, int64_t) { body(piece); });
    const double taken = std::max(watch.lap(), 1e-9);
    if (taken >= 0.5 * seconds) return double(count) / taken;
    count = int64_t(double(count) * std::clamp(seconds / taken, 2.0, 32.0));
  }
}

double fma_rate(double seconds) {
  const cpu::RoofLoops& loops = current_loops();
  float seeds[cpu::kRoofSeeds];
  constexpr int64_t kRun = cpu::kRoofLanes;
  fill_random(seeds, kRun, -1.3f, -1.1f);
  fill_random(seeds + kRun, kRun, 0.5f, 1);
  fill_random(seeds + 2 * kRun, kRun, 0.65f, 0.75f);
  fill_random(seeds + 3 * kRun, kRun, 0.5f, 1);
  fill_random(seeds + 4 * kRun, cpu::kRoofSeeds - 4 * kRun, -1, 1);
  std::atomic<float> used{0};  // keeps the loops from being optimised away
  const double pieces = pieces_a_second(seconds, [&](int64_t) { used = loops.multiply_add(seeds, kSteps); });
  return pieces * double(kSteps * loops.step_flop);
}

/// Random bf16 values in [-1, 1).
void fill_random_bf16(uint16_t* to, int64_t count) {
  std::vector<float> values(size_t(count), 0.f);
  fill_random(values.data(), count, -1, 1);
  for (float value : values) *to++ = to_bf16(value).bits;
}

double resident_tile_rate(double seconds) {
  if (Context::current().cpu() != CpuLevel::amx) return 0;
  uint16_t operands[2 * cpu::kRoofTile];
  fill_random_bf16(operands, 2 * cpu::kRoofTile);
  std::atomic<float> used{0};
  const double pieces = pieces_a_second(seconds, [&](int64_t) { used = cpu::tile_products(operands, kSteps); });
  return pieces * double(kSteps * cpu::kRoofTileFlop);
}

double tile_rate(double seconds) {
  if (Context::current().cpu() != CpuLevel::amx) return 0;
  cpu::FedOperands operands;
  fill_random_bf16(operands.pixels[0][0], sizeof operands.pixels / sizeof(uint16_t));
  fill_random_bf16(operands.weights[0][0], sizeof operands.weights / sizeof(uint16_t));
  std::atomic<float> used{0};
  const double pieces = pieces_a_second(seconds, [&](int64_t) { used = cpu::fed_products(operands, kSteps); });
  return pieces * double(kSteps * cpu::kRoofFedFlop);
}

int64_t cache_size(int name) {
  const long bytes = sysconf(name);
  return bytes > 0 ? int64_t(bytes) : 0;
}

int64_t array_elements(int64_t bytes) {
  if (bytes <= 0) bytes = std::clamp(4 * cache_size(_SC_LEVEL3_CACHE_SIZE), kSmallestArray, kLargestArray);
  return divide_up(bytes / 4, kBlock) * kBlock;
}

}  // namespace

int64_t RoofMeter::l2_bytes() {
  const int64_t bytes = cache_size(_SC_LEVEL2_CACHE_SIZE);
  return bytes > 0 ? bytes : int64_t(256) << 10;
}

RoofMeter::RoofMeter(const RoofOptions& options)
    : seconds_(options.seconds), from_(Shape({array_elements(options.array_bytes)})), to_(empty_like(from_)) {
  SAT_CHECK(seconds_ > 0 && seconds_ <= 60, "a roof is measured for up to 60 seconds, not ", seconds_);
  parallel_for(from_.numel(), kCopyPiece, [&](int64_t first, int64_t last) {
    fill_random(from_.data<float>() + first, last - first, -1, 1);
    std::copy_n(from_.data<float>() + first, last - first, to_.data<float>() + first);
  });
}

double RoofMeter::copy_in_memory() const {
  double best = 0;
  Tensor target = to_;
  float* to = target.data<float>();
  const float* from = from_.data<float>();
  for (const auto copy : {streaming_copy, current_loops().copy}) {
    profile::Stopwatch watch;
    double bytes = 0, taken = 0;
    while (taken < 0.5 * seconds_) {
      parallel_for(from_.numel(), kCopyPiece,
                   [&](int64_t first, int64_t last) { copy(to + first, from + first, last - first); });
      bytes += 2 * double(from_.bytes());
      taken += watch.lap();
    }
    best = std::max(best, bytes / taken);
  }
  return best;
}

double RoofMeter::copy_in_cache() const {
  const int64_t elements = std::max(l2_bytes() / 4 / 4 / kBlock, int64_t(1)) * kBlock;
  const cpu::RoofLoops& loops = current_loops();
  const double pieces = pieces_a_second(seconds_, [&](int64_t) {
    Tensor arrays({2, elements});
    float* from = arrays.data<float>();
    fill_random(from, elements, -1, 1);
    for (int64_t pass = 0; pass < kCachePasses; ++pass) loops.copy(from + elements, from, elements);
  });
  return pieces * double(kCachePasses * elements * 8);
}

Roofs RoofMeter::measure() const {
  SAT_CHECK(!Context::current().dry(), "a dry context computes nothing that could be measured");
  return {fma_rate(seconds_), tile_rate(seconds_), resident_tile_rate(seconds_), copy_in_memory(), copy_in_cache()};
}

}  // namespace sat
