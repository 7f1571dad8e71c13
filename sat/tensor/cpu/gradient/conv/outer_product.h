// Private: sums of outer products, the matrix product behind the weight's gradient: both operands are read along the
// terms, so that nothing is summed across a vector. Holds plain declarations only (see vector/simd.h).
#pragma once

#include <cstdint>

namespace sat::cpu {

/// Term k joins the numbers from x[x_at[k]] on with those from y[y_at[k]] on.
struct OuterTerms {
  const float *x, *y;
  const int32_t *x_at, *y_at;
  int64_t count;
};

/// sums[r][n] += the sum over terms of x[r] * y[n], r < rows, n < panels * 16. Terms are summed in order, by fused
/// multiply-adds, from zero. What lies behind the sums is fetched: the next ones.
///   sums [rows, panels * 16]; rows an even number; panels from 1 to 4
using OuterProduct = void (*)(float* sums, const OuterTerms& terms, int64_t rows, int64_t panels);

void outer_product_avx2(float* sums, const OuterTerms& terms, int64_t rows, int64_t panels);
void outer_product_avx512(float* sums, const OuterTerms& terms, int64_t rows, int64_t panels);

}  // namespace sat::cpu
