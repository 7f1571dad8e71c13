// Private: functions of eight lanes that the AVX2 loops share.
// Included by *_avx2.cpp files alone. Everything has internal linkage, so that each file keeps its own copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace sat::cpu::avx2 {
namespace {

constexpr int64_t kLanes = 8;

inline float sum_of(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// 2^n - 1 + 2^n * p = e^x - 1 for -87 <= x <= 0: x = n * ln 2 + r with |r| <= ln 2 / 2, and p = e^r - 1 by its series
/// to r^7, whose remainder is below 6e-9. Keeping the 1 apart loses no digits near x = 0.
struct Expm1 {
  __m256 power, p;
};
inline Expm1 expm1_parts(__m256 x) {
  x = _mm256_max_ps(_mm256_set1_ps(-87.f), x);  // in this order a NaN stays
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);  // ln 2 in two parts, the first exact times n
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.f / 5040);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 720));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 120));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 24));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.f / 6));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
  p = _mm256_fmadd_ps(_mm256_mul_ps(p, r), r, r);
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)), p};
}

/// e^x for x <= 0; 0 below -87.
inline __m256 exp_of(__m256 x) {
  const Expm1 e = expm1_parts(x);
  const __m256 value = _mm256_fmadd_ps(e.power, e.p, e.power);
  return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.f), _CMP_LT_OQ), value);
}

}  // namespace
}  // namespace sat::cpu::avx2
