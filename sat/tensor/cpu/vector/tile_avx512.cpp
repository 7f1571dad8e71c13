// The register tile of 6 rows x 64 outputs, AVX-512: 24 accumulators, 4 weights, 1 broadcast of the 32 registers.
// Everything else that AVX-512 machines run is the AVX2 form: those loops wait for memory.
#include <immintrin.h>

#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu {

namespace {

constexpr int64_t kLine = 64;  // bytes of a cache line

/// Lines: of memory that is fetched beforehand, for each channel.
template <int Panels, int Lines = 0>
void tile_of(float* sums, const float* const* rows, const TileWeights& weights, bool first) {
  __m512 sum[kTileRows][Panels];
  for (auto& row : sum) {
    for (__m512& s : row) s = _mm512_setzero_ps();
  }
  const float* tap = weights.first;
  const char* soon = reinterpret_cast<const char*>(weights.soon);
  for (int64_t t = 0; t < weights.taps; ++t, rows += kTileRows, tap += weights.tap_stride) {
    const float* const x[kTileRows] = {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
    const float* w = tap;
    for (int64_t i = 0; i < weights.channels; ++i, w += kPanel) {
      __m512 weight[Panels];
      for (int n = 0; n < Panels; ++n) weight[n] = _mm512_loadu_ps(w + n * weights.panel_stride);
      for (int line = 0; line < Lines; ++line, soon += kLine) _mm_prefetch(soon, _MM_HINT_T1);
      for (int r = 0; r < kTileRows; ++r) {
        const __m512 value = _mm512_set1_ps(x[r][i]);
        for (int n = 0; n < Panels; ++n) sum[r][n] = _mm512_fmadd_ps(value, weight[n], sum[r][n]);
      }
    }
  }
  for (auto& row : sum) {
    for (const __m512 s : row) {
      _mm512_storeu_ps(sums, first ? s : _mm512_add_ps(_mm512_loadu_ps(sums), s));
      sums += kPanel;
    }
  }
}

void tile(float* sums, const float* const* rows, const TileWeights& weights, bool first) {
  switch (weights.panels) {
    case 1: return tile_of<1>(sums, rows, weights, first);
    case 2: return tile_of<2>(sums, rows, weights, first);
    case 3: return tile_of<3>(sums, rows, weights, first);
    default: break;
  }
  switch (weights.soon ? weights.lines : 0) {
    case 0: return tile_of<4>(sums, rows, weights, first);
    case 1: return tile_of<4, 1>(sums, rows, weights, first);
    case 2: return tile_of<4, 2>(sums, rows, weights, first);
    default: return tile_of<4, 4>(sums, rows, weights, first);
  }
}

template <int Panels>
void tile_onto_of(const TileTarget* targets, int64_t count, const float* const* rows, const StreamWeights& weights) {
  __m512 sum[kTileRows][Panels];
  for (auto& row : sum) {
    for (__m512& s : row) s = _mm512_setzero_ps();
  }
  const float* const x[kTileRows] = {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
  const float* w = weights.first;
  const char* soon = reinterpret_cast<const char*>(weights.soon);
  for (int64_t i = 0; i < weights.channels; ++i, w += Panels * kPanel, soon += kLine) {
    __m512 weight[Panels];
    for (int n = 0; n < Panels; ++n) weight[n] = _mm512_loadu_ps(w + n * kPanel);
    _mm_prefetch(soon, _MM_HINT_T1);
    for (int r = 0; r < kTileRows; ++r) {
      const __m512 value = _mm512_set1_ps(x[r][i]);
      for (int n = 0; n < Panels; ++n) sum[r][n] = _mm512_fmadd_ps(value, weight[n], sum[r][n]);
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m512 sign = _mm512_set1_ps(targets[t].sign);
    float* to = targets[t].to;
    for (auto& row : sum) {
      for (int n = 0; n < Panels; ++n) {
        const __m512 before = targets[t].afresh ? _mm512_setzero_ps() : _mm512_loadu_ps(to + n * kPanel);
        _mm512_storeu_ps(to + n * kPanel, _mm512_fmadd_ps(sign, row[n], before));
      }
      to += targets[t].stride;
    }
  }
}

void tile_onto(const TileTarget* targets, int64_t count, const float* const* rows, const StreamWeights& weights) {
  switch (weights.panels) {
    case 1: return tile_onto_of<1>(targets, count, rows, weights);
    case 2: return tile_onto_of<2>(targets, count, rows, weights);
    case 3: return tile_onto_of<3>(targets, count, rows, weights);
    default: return tile_onto_of<4>(targets, count, rows, weights);
  }
}

}  // namespace

const Simd kAvx512 = {tile, tile_onto, avx512::gelu, avx512::exponentials};

}  // namespace sat::cpu
