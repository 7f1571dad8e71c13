// Private: a Unit for the loops of this folder, from the processor's tiles and AVX-512; for files compiled for AMX
// alone. The tile instructions are spelled as assembly: compilers then neither move nor spill a tile, and GCC 12's
// _tile_loadconfig, which lets the configuration's stores be dropped, is not needed. Internal linkage, as in
// conv/line_loops.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "sat/tensor/cpu/amx/tile_configuration.h"
#include "sat/tensor/half.h"

namespace sat::cpu {
namespace {

/// Which tile holds what is said in tile_step.h and conv/quad_step.h.
class ProcessorUnit {
 public:
  using Vector = __m512;

  explicit ProcessorUnit(const TileConfiguration& configuration) { asm volatile("ldtilecfg %0" ::"m"(configuration)); }
  ~ProcessorUnit() { asm volatile("tilerelease"); }
  ProcessorUnit(const ProcessorUnit&) = delete;
  ProcessorUnit& operator=(const ProcessorUnit&) = delete;

  template <int Count>
  void zero_tiles() {
    zero_tile<0>();
    if constexpr (Count > 1) zero_tile<1>();
    if constexpr (Count > 2) zero_tile<2>();
    if constexpr (Count > 3) zero_tile<3>();
    if constexpr (Count > 4) zero_tile<4>();
    if constexpr (Count > 5) zero_tile<5>();
  }
  template <int Tile>
  void load_tile(const void* from, int64_t row_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(Tile) : "memory");
  }
  template <int Sum, int A, int B>
  void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B));
  }
  template <int Tile>
  void store_tile(float* to, int64_t row_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(Tile) : "memory");
  }
  template <int M, int N>
  void store_tiles(float* sums) {
    store_sum<0, M, N>(sums);
    if constexpr (M * N > 1) store_sum<1, M, N>(sums);
    if constexpr (M * N > 2) store_sum<2, M, N>(sums);
    if constexpr (M * N > 3) store_sum<3, M, N>(sums);
    if constexpr (M * N > 4) store_sum<4, M, N>(sums);
    if constexpr (M * N > 5) store_sum<5, M, N>(sums);
  }

  /// What store_tiles<M, N>() stored.
  template <int M, int N>
  void load_sums(const float* sums) {
    load_sum<0, M, N>(sums);
    if constexpr (M * N > 1) load_sum<1, M, N>(sums);
    if constexpr (M * N > 2) load_sum<2, M, N>(sums);
    if constexpr (M * N > 3) load_sum<3, M, N>(sums);
    if constexpr (M * N > 4) load_sum<4, M, N>(sums);
    if constexpr (M * N > 5) load_sum<5, M, N>(sums);
  }

  /// Asks for lines of 64 bytes: into the L1 cache, or one of them into the L2. Any address may be asked for.
  template <int Lines>
  [[gnu::always_inline]] static void fetch(const char* from) {
#pragma GCC unroll 18
    for (int i = 0; i < Lines; ++i) _mm_prefetch(from + 64 * i, _MM_HINT_T0);
  }
  [[gnu::always_inline]] static void fetch_far(uintptr_t from) {
    _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T1);
  }

  static Vector all(float value) { return _mm512_set1_ps(value); }
  static Vector load(const float* from) { return _mm512_load_ps(from); }
  static void store(float* to, Vector value) { _mm512_store_ps(to, value); }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
  static Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  static Vector divide(Vector a, Vector b) { return _mm512_div_ps(a, b); }
  static Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  /// The larger and the smaller one; b where either is no number.
  static Vector larger(Vector a, Vector b) { return _mm512_maskz_max_ps(kAll, a, b); }
  static Vector smaller(Vector a, Vector b) { return _mm512_maskz_min_ps(kAll, a, b); }
  /// To the nearest whole number, ties to even.
  static Vector nearest(Vector a) {
    return _mm512_maskz_roundscale_ps(kAll, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  /// a * 2^n of a whole number n; 0 where n < -126.
  static Vector times_power(Vector a, Vector n) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(n, all(-126.f), _CMP_NLT_UQ), a, n);
  }
  static Vector leaky(Vector value, Vector slope) {
    const __mmask16 negative = _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_mul_ps(value, negative, value, slope);
  }
  /// Lanes of 16 values in memory; the others are zero and not touched there.
  template <bool Half>
  static Vector take(uintptr_t from, uint32_t lanes) {
    const void* const values = reinterpret_cast<const void*>(from);
    if constexpr (Half)
      return _mm512_maskz_cvtph_ps(__mmask16(lanes), _mm256_maskz_loadu_epi16(__mmask16(lanes), values));
    return _mm512_maskz_loadu_ps(__mmask16(lanes), values);
  }
  /// Lanes of 32 values to bf16: to nearest, ties to even; denormal numbers to zero.
  static void round(uint16_t* to, Vector low, Vector high, uint32_t lanes) {
    _mm512_mask_storeu_epi16(to, lanes, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
  /// Pairs (a, b) of 16 values of each, rounded so: 32 values.
  static void pairs(uint16_t* to, Vector a, Vector b) {
    const __m512i low = _mm512_maskz_cvtepu16_epi32(kAll, (__m256i)_mm512_cvtneps_pbh(a));
    const __m512i high = _mm512_maskz_cvtepu16_epi32(kAll, (__m256i)_mm512_cvtneps_pbh(b));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_maskz_slli_epi32(kAll, high, 16)));
  }
  /// Lanes of 32 results; f16 is held within its largest value.
  static void put(void* to, Vector low, Vector high, uint32_t lanes, bool half, bool around_cache) {
    if (half) {
      low = held(low);
      high = held(high);
      constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
      const __m256i a = _mm512_maskz_cvtps_ph(kAll, low, kNearest), b = _mm512_maskz_cvtps_ph(kAll, high, kNearest);
      const __m512i both = _mm512_maskz_inserti64x4(0xFF, _mm512_castsi256_si512(a), b, 1);
      if (around_cache) {
        _mm512_stream_si512(static_cast<__m512i*>(to), both);
      } else {
        _mm512_mask_storeu_epi16(to, lanes, both);
      }
    } else if (around_cache) {
      _mm512_stream_ps(static_cast<float*>(to), low);
      _mm512_stream_ps(static_cast<float*>(to) + 16, high);
    } else {
      _mm512_mask_storeu_ps(to, __mmask16(lanes), low);
      _mm512_mask_storeu_ps(static_cast<float*>(to) + 16, __mmask16(lanes >> 16), high);
    }
  }

 private:
  // GCC 12 takes the unmasked forms of these instructions for reads of unset values.
  static constexpr __mmask16 kAll = 0xFFFF;

  /// Within what f16 can hold; NaN stays, as the second operand of both.
  static Vector held(Vector value) {
    value = _mm512_maskz_min_ps(kAll, all(kLargestF16), value);
    return _mm512_maskz_max_ps(kAll, all(-kLargestF16), value);
  }

  template <int Tile>
  void zero_tile() {
    asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
  }
  /// Tile n * M + m lies at rows 16 m and outputs 16 n of [M * 16, 32].
  template <int Tile, int M, int N>
  void load_sum(const float* sums) {
    load_tile<Tile>(sums + Tile % M * kAmxRows * kAmxLanes + Tile / M * 16, kAmxLanes * int64_t(sizeof(float)));
  }
  template <int Tile, int M, int N>
  void store_sum(float* sums) {
    store_tile<Tile>(sums + Tile % M * kAmxRows * kAmxLanes + Tile / M * 16, kAmxLanes * int64_t(sizeof(float)));
  }
};

}  // namespace
}  // namespace sat::cpu
