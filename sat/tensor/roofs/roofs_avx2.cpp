// The loops of roofs.h in AVX2 with FMA: 12 chains and 4 coefficients fill the 16 registers.
#include <immintrin.h>

#include "sat/tensor/roofs/roof_loops.h"

namespace sat::cpu {

namespace {

constexpr int kChains = 12, kLanes = 8;

float multiply_add(const float* seeds, int64_t steps) {
  const __m256 grow = _mm256_loadu_ps(seeds), first = _mm256_loadu_ps(seeds + kRoofLanes);
  const __m256 shrink = _mm256_loadu_ps(seeds + 2 * kRoofLanes), second = _mm256_loadu_ps(seeds + 3 * kRoofLanes);
  __m256 x[kChains];
  for (int c = 0; c < kChains; ++c) x[c] = _mm256_loadu_ps(seeds + (4 + c) * kRoofLanes);
  for (int64_t step = 0; step < steps; ++step) {
    for (__m256& chain : x) chain = _mm256_fmadd_ps(chain, grow, first);
    for (__m256& chain : x) chain = _mm256_fmadd_ps(chain, shrink, second);
  }
  __m256 sum = x[0];
  for (int c = 1; c < kChains; ++c) sum = _mm256_add_ps(sum, x[c]);
  float lanes[kLanes], total = 0;
  _mm256_storeu_ps(lanes, sum);
  for (float lane : lanes) total += lane;
  return total;
}

void copy(float* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      _mm256_storeu_ps(to + i + part * kLanes, _mm256_loadu_ps(from + i + part * kLanes));
    }
  }
}

}  // namespace

const RoofLoops kRoofAvx2 = {2 * 2 * kChains * kLanes, multiply_add, copy};

}  // namespace sat::cpu
