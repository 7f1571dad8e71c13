// The register tile of 6 rows x 64 outputs, AVX-512: 24 accumulators, 4 weights, 1 broadcast of the 32 registers.
// Everything else that AVX-512 machines run is the AVX2 form: those loops wait for memory.
#include <immintrin.h>

#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu {

namespace {

constexpr int64_t kLine = 64;  // bytes of a cache line

/// The sums of a tile. Every loop over them is unrolled, or the compiler would hold them in memory before and after the
/// loop over channels: a tenth of a tile's time at 64 channels.
template <int Panels>
struct Sums {
  __m512 sum[kTileRows][Panels];

  Sums() {
#pragma GCC unroll 24
    for (int s = 0; s < kTileRows * Panels; ++s) sum[s / Panels][s % Panels] = _mm512_setzero_ps();
  }

  /// Adds value [r][i] * weights [n] for all rows and panels.
  void add(const float* const (&x)[kTileRows], int64_t i, const float* w, int64_t panel_stride) {
    __m512 weight[Panels];
#pragma GCC unroll 4
    for (int n = 0; n < Panels; ++n) weight[n] = _mm512_loadu_ps(w + n * panel_stride);
#pragma GCC unroll 6
    for (int r = 0; r < kTileRows; ++r) {
      const __m512 value = _mm512_set1_ps(x[r][i]);
#pragma GCC unroll 4
      for (int n = 0; n < Panels; ++n) sum[r][n] = _mm512_fmadd_ps(value, weight[n], sum[r][n]);
    }
  }
};

/// Lines: of memory that is fetched beforehand, for each channel.
template <int Panels, int Lines = 0>
void tile_of(float* sums, const float* const* rows, const TileWeights& weights, bool first) {
  Sums<Panels> tile;
  const float* tap = weights.first;
  const char* soon = reinterpret_cast<const char*>(weights.soon);
  for (int64_t t = 0; t < weights.taps; ++t, rows += kTileRows, tap += weights.tap_stride) {
    const float* const x[kTileRows] = {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
    const float* w = tap;
    for (int64_t i = 0; i < weights.channels; ++i, w += kPanel) {
#pragma GCC unroll 4
      for (int line = 0; line < Lines; ++line, soon += kLine) _mm_prefetch(soon, _MM_HINT_T1);
      tile.add(x, i, w, weights.panel_stride);
    }
  }
  if (!first) {
#pragma GCC unroll 24
    for (int s = 0; s < kTileRows * Panels; ++s) {
      __m512& sum = tile.sum[s / Panels][s % Panels];
      sum = _mm512_add_ps(_mm512_loadu_ps(sums + s * kPanel), sum);
    }
  }
#pragma GCC unroll 24
  for (int s = 0; s < kTileRows * Panels; ++s) _mm512_storeu_ps(sums + s * kPanel, tile.sum[s / Panels][s % Panels]);
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
  Sums<Panels> tile;
  const float* const x[kTileRows] = {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
  const float* w = weights.first;
  const char* soon = reinterpret_cast<const char*>(weights.soon);
  for (int64_t i = 0; i < weights.channels; ++i, w += Panels * kPanel, soon += kLine) {
    _mm_prefetch(soon, _MM_HINT_T1);
    tile.add(x, i, w, kPanel);
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m512 sign = _mm512_set1_ps(targets[t].sign);
    float* to = targets[t].to;
#pragma GCC unroll 6
    for (auto& row : tile.sum) {
#pragma GCC unroll 4
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
