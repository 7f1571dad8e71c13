// Sums of outer products in tiles of 6 x 16, AVX2 with FMA: 12 sums, 2 vectors of y, 1 broadcast of the 16 registers.
#include <immintrin.h>

#include "sat/tensor/cpu/gradient/conv/outer_product.h"

namespace sat::cpu {

namespace {

constexpr int64_t kPanel = 16;

/// Rows [row, row + Rows) of one panel of the sums, `width` floats from row to row.
template <int Rows>
void tile(float* sums, const OuterTerms& terms, int64_t row, int64_t panel, int64_t width) {
  float* to = sums + row * width + panel * kPanel;
  __m256 low[Rows], high[Rows];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    low[r] = high[r] = _mm256_setzero_ps();
    _mm_prefetch(reinterpret_cast<const char*>(to + (Rows + r) * width), _MM_HINT_T0);
  }
  const float *x = terms.x + row, *y = terms.y + panel * kPanel;
  for (int64_t k = 0; k < terms.count; ++k) {
    const float *left = x + terms.x_at[k], *right = y + terms.y_at[k];
    const __m256 right_low = _mm256_loadu_ps(right), right_high = _mm256_loadu_ps(right + 8);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const __m256 factor = _mm256_set1_ps(left[r]);
      low[r] = _mm256_fmadd_ps(factor, right_low, low[r]);
      high[r] = _mm256_fmadd_ps(factor, right_high, high[r]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r, to += width) {
    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), low[r]));
    _mm256_storeu_ps(to + 8, _mm256_add_ps(_mm256_loadu_ps(to + 8), high[r]));
  }
}

}  // namespace

void outer_product_avx2(float* sums, const OuterTerms& terms, int64_t rows, int64_t panels) {
  const int64_t width = panels * kPanel;
  int64_t row = 0;
  for (; row + 6 <= rows; row += 6) {
    for (int64_t panel = 0; panel < panels; ++panel) tile<6>(sums, terms, row, panel, width);
  }
  for (int64_t panel = 0; panel < panels; ++panel) {
    if (rows - row == 4) tile<4>(sums, terms, row, panel, width);
    if (rows - row == 2) tile<2>(sums, terms, row, panel, width);
  }
}

}  // namespace sat::cpu
