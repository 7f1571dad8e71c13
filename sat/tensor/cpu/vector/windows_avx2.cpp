// AVX2 form of attention inside windows: the scores of six queries stay in the first-level cache between the two
// products, and both products keep their sums in registers.
#include "sat/tensor/cpu/vector/windows_avx2.h"

#include <immintrin.h>

#include "sat/tensor/cpu/vector/lanes_avx2.h"

namespace sat::cpu::avx2 {

namespace {

using L = Lanes8;
constexpr int64_t kRows = kWindowQueries, kLanes = L::kLanes;

__m256i lanes_below(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(count < 0        ? 0
                                                  : count < kLanes ? count
                                                                   : kLanes)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// sums[r] = sum over i < terms of row[r][i] * panel[i], for 16 outputs.
void multiply(__m256 (&sums)[kRows][2], const float* const* row, const float* panel, int64_t terms) {
  for (auto& sum : sums) sum[0] = sum[1] = _mm256_setzero_ps();
  for (int64_t i = 0; i < terms; ++i, panel += kWindowLanes) {
    const __m256 low = _mm256_loadu_ps(panel), high = _mm256_loadu_ps(panel + kLanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const __m256 value = _mm256_broadcast_ss(row[r] + i);
      sums[r][0] = _mm256_fmadd_ps(value, low, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(value, high, sums[r][1]);
    }
  }
}

/// x = exp(x + bias + mask - the largest of these), and returns the sum of x; x beyond `count` becomes 0.
float exponentials(float* x, const float* bias, const float* mask, int64_t count, int64_t padded) {
  __m256 largest = _mm256_set1_ps(-__builtin_inff());
  for (int64_t i = 0; i < padded; i += kLanes) {
    __m256 value = _mm256_loadu_ps(x + i);
    const bool whole = i + kLanes <= count;
    const __m256i there = lanes_below(count - i);
    if (bias) value = _mm256_add_ps(value, whole ? _mm256_loadu_ps(bias + i) : _mm256_maskload_ps(bias + i, there));
    if (mask) value = _mm256_add_ps(value, _mm256_loadu_ps(mask + i));
    if (!whole) value = _mm256_blendv_ps(_mm256_set1_ps(-__builtin_inff()), value, _mm256_castsi256_ps(there));
    _mm256_storeu_ps(x + i, value);
    largest = _mm256_max_ps(largest, value);
  }
  const __m256 top = _mm256_set1_ps(L::largest_of(largest));
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < padded; i += kLanes) {
    const __m256 value = exp_of<L>(_mm256_sub_ps(_mm256_loadu_ps(x + i), top));
    _mm256_storeu_ps(x + i, value);
    sum = _mm256_add_ps(sum, value);
  }
  return L::sum_of(sum);
}

}  // namespace

void window_queries(float* const* to, const float* const* q, const float* const* bias, const float* const* mask,
                    int64_t rows, const WindowHead& head, float* scores) {
  const int64_t padded = (head.tokens + kWindowLanes - 1) / kWindowLanes * kWindowLanes;
  const float *query[kRows], *weight[kRows];
  for (int64_t r = 0; r < kRows; ++r) {
    query[r] = q[r < rows ? r : 0];
    weight[r] = scores + r * padded;
  }
  const __m256 scale = _mm256_set1_ps(head.scale);
  __m256 sums[kRows][2];
  for (int64_t t = 0; t < padded; t += kWindowLanes) {
    multiply(sums, query, head.keys + t * head.width, head.width);
    for (int64_t r = 0; r < rows; ++r) {
      _mm256_storeu_ps(scores + r * padded + t, _mm256_mul_ps(sums[r][0], scale));
      _mm256_storeu_ps(scores + r * padded + t + kLanes, _mm256_mul_ps(sums[r][1], scale));
    }
  }
  float share[kRows];
  for (int64_t r = 0; r < rows; ++r) {
    share[r] = 1.f / exponentials(scores + r * padded, bias[r], mask[r], head.tokens, padded);
  }
  for (int64_t r = rows; r < kRows; ++r) weight[r] = weight[0];
  for (int64_t c = 0; c < head.width; c += kWindowLanes) {
    multiply(sums, weight, head.values + c * head.tokens, head.tokens);
    for (int64_t r = 0; r < rows; ++r) {
      const __m256 factor = _mm256_set1_ps(share[r]);
      for (int64_t half = 0; half < 2; ++half) {
        const __m256i there = lanes_below(head.width - c - half * kLanes);
        _mm256_maskstore_ps(to[r] + c + half * kLanes, there, _mm256_mul_ps(sums[r][half], factor));
      }
    }
  }
}

}  // namespace sat::cpu::avx2
