// AVX-512 forms of the loops that compute more than they load: GELU and the exponentials of a softmax.
#include <immintrin.h>

#include "sat/tensor/cpu/vector/lanes_avx2.h"
#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu::avx512 {

namespace {

/// Vectors of sixteen numbers, for functions.h.
struct Lanes16 {
  using V = __m512;
  using Eight = __m256;
  static constexpr int64_t kLanes = 16;

  static V all(float value) { return _mm512_set1_ps(value); }
  static V load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, V value) { _mm512_storeu_ps(to, value); }
  static V load_some(const float* from, int64_t count, float filler) {
    return _mm512_mask_loadu_ps(all(filler), below(count), from);
  }
  static void store_some(float* to, V value, int64_t count) { _mm512_mask_storeu_ps(to, below(count), value); }
  static V first_lanes(V value, int64_t count, float filler) {
    return _mm512_mask_mov_ps(all(filler), below(count), value);
  }

  static V add(V a, V b) { return _mm512_add_ps(a, b); }
  static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static V div(V a, V b) { return _mm512_div_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V nfma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
  static V larger(V a, V b) { return _mm512_maskz_max_ps(kAll, a, b); }
  static V nearest(V a) { return _mm512_maskz_roundscale_ps(kAll, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static V magnitude(V a) { return _mm512_maskz_andnot_ps(kAll, all(-0.f), a); }
  static V power_of_two(V n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_maskz_cvtps_epi32(kAll, n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, exponent, 23));
  }
  static V zero_below(V x, float limit, V value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, all(limit), _CMP_NLT_UQ), value);
  }
  static V by_sign(V x, V negative, V positive) {
    return _mm512_mask_mov_ps(positive, _mm512_movepi32_mask(_mm512_castps_si512(x)), negative);
  }
  static float largest_of(V x) { return Lanes8::largest_of(_mm256_max_ps(low(x), high(x))); }

  static Eight no_sum() { return _mm256_setzero_ps(); }
  static Eight add_up(Eight sum, V value) { return _mm256_add_ps(_mm256_add_ps(sum, low(value)), high(value)); }
  static float sum_of(Eight x) { return Lanes8::sum_of(x); }

 private:
  // GCC 12 takes the unmasked forms of these instructions for reads of unset values.
  static constexpr __mmask16 kAll = 0xFFFF;

  static __mmask16 below(int64_t count) { return __mmask16((1u << count) - 1); }
  static __m256 low(V x) { return _mm512_maskz_extractf32x8_ps(0xFF, x, 0); }
  static __m256 high(V x) { return _mm512_maskz_extractf32x8_ps(0xFF, x, 1); }
};

}  // namespace

void gelu(float* x, int64_t count) { gelu_row<Lanes16>(x, count); }

float exponentials(float* x, const float* bias, float scale, int64_t count) {
  return exponentials_row<Lanes16>(x, bias, scale, count);
}

}  // namespace sat::cpu::avx512
