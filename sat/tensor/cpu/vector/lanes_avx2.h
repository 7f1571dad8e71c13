// Private: vectors of eight numbers in AVX2, for functions.h and the loops of AVX2.
// Included by *_avx2.cpp and *_avx512.cpp files alone. Everything has internal linkage, so that each file keeps its own
// copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "sat/tensor/cpu/vector/functions.h"

namespace sat::cpu {
namespace {

struct Lanes8 {
  using V = __m256;
  using Eight = __m256;
  static constexpr int64_t kLanes = 8;

  static V all(float value) { return _mm256_set1_ps(value); }
  static V load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, V value) { _mm256_storeu_ps(to, value); }
  /// The first `count` of eight numbers, fewer than eight; the rest are `filler` and not touched in memory.
  static V load_some(const float* from, int64_t count, float filler) {
    alignas(32) float block[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) block[i] = i < count ? from[i] : filler;
    return _mm256_load_ps(block);
  }
  static void store_some(float* to, V value, int64_t count) {
    alignas(32) float block[kLanes];
    _mm256_store_ps(block, value);
    for (int64_t i = 0; i < count; ++i) to[i] = block[i];
  }
  static V first_lanes(V value, int64_t count, float filler) {
    alignas(32) float block[kLanes];
    _mm256_store_ps(block, value);
    return load_some(block, count, filler);
  }

  static V add(V a, V b) { return _mm256_add_ps(a, b); }
  static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  static V div(V a, V b) { return _mm256_div_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V nfma(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
  /// b where either is no number.
  static V larger(V a, V b) { return _mm256_max_ps(a, b); }
  static V nearest(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static V magnitude(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a); }
  /// 2^n of a whole number n from -126 to 127.
  static V power_of_two(V n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  /// `value`, and 0 where x is below the limit.
  static V zero_below(V x, float limit, V value) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_LT_OQ), value);
  }
  static V by_sign(V x, V negative, V positive) { return _mm256_blendv_ps(positive, negative, x); }
  static float largest_of(V x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static Eight no_sum() { return _mm256_setzero_ps(); }
  static Eight add_up(Eight sum, V value) { return _mm256_add_ps(sum, value); }
  static float sum_of(Eight x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
};

}  // namespace
}  // namespace sat::cpu
