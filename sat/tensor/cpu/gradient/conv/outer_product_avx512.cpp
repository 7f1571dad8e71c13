// Sums of outer products in tiles of 6 x 64, AVX-512: 24 sums, 4 vectors of y, 1 broadcast of the 32 registers.
#include <immintrin.h>

#include "sat/tensor/cpu/gradient/conv/outer_product.h"

namespace sat::cpu {

namespace {

constexpr int64_t kLanes = 16;

/// Rows [row, row + Rows) of the sums.
template <int Rows, int Panels>
void tile(float* sums, const OuterTerms& terms, int64_t row) {
  float* to = sums + row * Panels * kLanes;
  __m512 sum[Rows * Panels];
#pragma GCC unroll 24
  for (int s = 0; s < Rows * Panels; ++s) {
    sum[s] = _mm512_setzero_ps();
    _mm_prefetch(reinterpret_cast<const char*>(to + (Rows * Panels + s) * kLanes), _MM_HINT_T0);
  }
  const float *x = terms.x + row, *y = terms.y;
  for (int64_t k = 0; k < terms.count; ++k) {
    const float *left = x + terms.x_at[k], *right = y + terms.y_at[k];
    __m512 values[Panels];
#pragma GCC unroll 4
    for (int n = 0; n < Panels; ++n) values[n] = _mm512_loadu_ps(right + n * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const __m512 factor = _mm512_set1_ps(left[r]);
#pragma GCC unroll 4
      for (int n = 0; n < Panels; ++n) sum[r * Panels + n] = _mm512_fmadd_ps(factor, values[n], sum[r * Panels + n]);
    }
  }
#pragma GCC unroll 24
  for (int s = 0; s < Rows * Panels; ++s) {
    _mm512_storeu_ps(to + s * kLanes, _mm512_add_ps(_mm512_loadu_ps(to + s * kLanes), sum[s]));
  }
}

template <int Panels>
void all_rows(float* sums, const OuterTerms& terms, int64_t rows) {
  int64_t row = 0;
  for (; row + 6 <= rows; row += 6) tile<6, Panels>(sums, terms, row);
  if (rows - row == 4) tile<4, Panels>(sums, terms, row);
  if (rows - row == 2) tile<2, Panels>(sums, terms, row);
}

}  // namespace

void outer_product_avx512(float* sums, const OuterTerms& terms, int64_t rows, int64_t panels) {
  switch (panels) {
    case 1: return all_rows<1>(sums, terms, rows);
    case 2: return all_rows<2>(sums, terms, rows);
    case 3: return all_rows<3>(sums, terms, rows);
    default: return all_rows<4>(sums, terms, rows);
  }
}

}  // namespace sat::cpu
