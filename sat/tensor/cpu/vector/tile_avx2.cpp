// The register tile of 6 rows x 16 outputs, AVX2 with FMA: 12 accumulators, 2 weights, 1 broadcast of the 16 registers.
#include <immintrin.h>

#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu {

namespace {

constexpr int64_t kLine = 64;  // bytes of a cache line

void tile(float* sums, const float* const* rows, const TileWeights& weights, bool first) {
  for (int64_t panel = 0; panel < weights.panels; ++panel) {
    __m256 low[kTileRows], high[kTileRows];
    for (int r = 0; r < kTileRows; ++r) low[r] = high[r] = _mm256_setzero_ps();
    const float* tap = weights.first + panel * weights.panel_stride;
    const float* const* row = rows;
    const char* soon = panel < weights.lines ? reinterpret_cast<const char*>(weights.soon) : nullptr;
    if (soon) soon += panel * weights.channels * kLine;
    for (int64_t t = 0; t < weights.taps; ++t, row += kTileRows, tap += weights.tap_stride) {
      const float* const x[kTileRows] = {row[0], row[1], row[2], row[3], row[4], row[5]};
      const float* w = tap;
      for (int64_t i = 0; i < weights.channels; ++i, w += kPanel) {
        if (soon) _mm_prefetch(soon + i * kLine, _MM_HINT_T1);
        const __m256 weight_low = _mm256_loadu_ps(w), weight_high = _mm256_loadu_ps(w + 8);
        for (int r = 0; r < kTileRows; ++r) {
          const __m256 value = _mm256_set1_ps(x[r][i]);
          low[r] = _mm256_fmadd_ps(value, weight_low, low[r]);
          high[r] = _mm256_fmadd_ps(value, weight_high, high[r]);
        }
      }
    }
    for (int r = 0; r < kTileRows; ++r) {
      float* to = sums + (r * weights.panels + panel) * kPanel;
      _mm256_storeu_ps(to, first ? low[r] : _mm256_add_ps(_mm256_loadu_ps(to), low[r]));
      _mm256_storeu_ps(to + 8, first ? high[r] : _mm256_add_ps(_mm256_loadu_ps(to + 8), high[r]));
    }
  }
}

/// One panel of a stream: sums [6, 16] of each row at sums + r * width.
void stream_panel(float* sums, int64_t width, const float* const* rows, const float* w, int64_t channels,
                  const char* soon) {
  __m256 low[kTileRows], high[kTileRows];
  for (int r = 0; r < kTileRows; ++r) low[r] = high[r] = _mm256_setzero_ps();
  const float* const x[kTileRows] = {rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]};
  for (int64_t i = 0; i < channels; ++i, w += width) {
    if (soon) _mm_prefetch(soon + i * kLine, _MM_HINT_T1);
    const __m256 weight_low = _mm256_loadu_ps(w), weight_high = _mm256_loadu_ps(w + 8);
    for (int r = 0; r < kTileRows; ++r) {
      const __m256 value = _mm256_set1_ps(x[r][i]);
      low[r] = _mm256_fmadd_ps(value, weight_low, low[r]);
      high[r] = _mm256_fmadd_ps(value, weight_high, high[r]);
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    _mm256_storeu_ps(sums + r * width, low[r]);
    _mm256_storeu_ps(sums + r * width + 8, high[r]);
  }
}

void tile_onto(const TileTarget* targets, int64_t count, const float* const* rows, const StreamWeights& weights) {
  alignas(32) float sums[kTileRows * kTilePanels * kPanel];
  for (int64_t panel = 0; panel < weights.panels; ++panel) {
    stream_panel(sums + panel * kPanel, weights.panels * kPanel, rows, weights.first + panel * kPanel, weights.channels,
                 panel == 0 ? reinterpret_cast<const char*>(weights.soon) : nullptr);
  }
  for (int64_t t = 0; t < count; ++t) {
    const __m256 sign = _mm256_set1_ps(targets[t].sign);
    float* to = targets[t].to;
    for (int64_t r = 0; r < kTileRows; ++r, to += targets[t].stride) {
      for (int64_t o = 0; o < weights.panels * kPanel; o += 8) {
        const __m256 before = targets[t].afresh ? _mm256_setzero_ps() : _mm256_loadu_ps(to + o);
        const __m256 sum = _mm256_load_ps(sums + r * weights.panels * kPanel + o);
        _mm256_storeu_ps(to + o, _mm256_fmadd_ps(sign, sum, before));
      }
    }
  }
}

}  // namespace

const Simd kAvx2 = {tile, tile_onto, avx2::gelu, avx2::exponentials};

}  // namespace sat::cpu
