// The Winograd steps of AVX-512: sixteen channels at a time.
#include <immintrin.h>

#include "sat/tensor/cpu/winograd/gradient_lanes.h"
#include "sat/tensor/cpu/winograd/lanes.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

namespace {

struct Lanes16 {
  using V = __m512;
  static constexpr int64_t kLanes = 16;
  static V all(float x) { return _mm512_set1_ps(x); }
  static V load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* y, V x) { _mm512_storeu_ps(y, x); }
  static void stream(float* y, V x) { _mm512_stream_ps(y, x); }
  static void fence() { _mm_sfence(); }
  static V load_half(const uint16_t* x) {
    return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
  static void store_half(uint16_t* y, V x) {
    x = _mm512_maskz_max_ps(0xffff, _mm512_maskz_min_ps(0xffff, x, all(kLargestF16)), all(-kLargestF16));
    const __m256i half = _mm512_maskz_cvtps_ph(0xffff, x, _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), half);
  }
  static V add(V a, V b) { return _mm512_add_ps(a, b); }
  static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  static V scale(float k, V a) { return _mm512_mul_ps(_mm512_set1_ps(k), a); }
  static V fma(float k, V a, V b) { return _mm512_fmadd_ps(_mm512_set1_ps(k), a, b); }
  static V nfma(float k, V a, V b) { return _mm512_fnmadd_ps(_mm512_set1_ps(k), a, b); }
  static V fma_of(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V leaky(V a, V slope) {
    return _mm512_mask_mul_ps(a, _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ), a, slope);
  }
};

}  // namespace

const WinogradSteps kWinogradAvx512 = steps_of<Lanes16>(&kAvx512);
const WinogradGradientSteps kWinogradGradientAvx512 = gradient_steps_of<Lanes16>(outer_product_avx512);

}  // namespace sat::cpu
