// The Winograd steps of AVX2 with FMA and F16C: eight channels at a time.
#include <immintrin.h>

#include "sat/tensor/cpu/winograd/gradient_lanes.h"
#include "sat/tensor/cpu/winograd/lanes.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

namespace {

struct Lanes8 {
  using V = __m256;
  static constexpr int64_t kLanes = 8;
  static V all(float x) { return _mm256_set1_ps(x); }
  static V load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* y, V x) { _mm256_storeu_ps(y, x); }
  static void stream(float* y, V x) { _mm256_stream_ps(y, x); }
  static void fence() { _mm_sfence(); }
  static V load_half(const uint16_t* x) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  static void store_half(uint16_t* y, V x) {
    x = _mm256_min_ps(_mm256_max_ps(x, all(-kLargestF16)), all(kLargestF16));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static V add(V a, V b) { return _mm256_add_ps(a, b); }
  static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
  static V scale(float k, V a) { return _mm256_mul_ps(_mm256_set1_ps(k), a); }
  static V fma(float k, V a, V b) { return _mm256_fmadd_ps(_mm256_set1_ps(k), a, b); }
  static V nfma(float k, V a, V b) { return _mm256_fnmadd_ps(_mm256_set1_ps(k), a, b); }
  static V fma_of(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V leaky(V a, V slope) { return _mm256_blendv_ps(a, _mm256_mul_ps(a, slope), a); }
};

}  // namespace

const WinogradSteps kWinogradAvx2 = steps_of<Lanes8>(&kAvx2);
const WinogradGradientSteps kWinogradGradientAvx2 = gradient_steps_of<Lanes8>(outer_product_avx2);

}  // namespace sat::cpu
