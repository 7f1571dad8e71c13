// Private: the loops of AVX2 that every CPU level above plain runs.
// Holds plain declarations only, so that files compiled for a level share no inline function with those that are not.
#pragma once

#include <cstdint>

namespace sat {
struct bf16;  // tensor.h
struct f16;
}  // namespace sat

namespace sat::cpu::avx2 {

/// y = residual + scale * (x + bias); y may be residual; bias and scale null for 0 and 1.
void add_scaled(float* y, const float* residual, const float* x, const float* bias, const float* scale, int64_t count);

/// y = the sum over i < terms of sign[i] * x[i], terms from 1 to 4, count a multiple of 8.
void combine(float* y, const float* const* x, const float* sign, int64_t terms, int64_t count);

/// scores += weight * tanh(logits / 2), the tanh to within 2e-7.
void add_tanh_half(float* scores, const float* logits, float weight, int64_t count);

/// Per channel of x [voxels, channels]: mean, and sum of squared deviations from it (two passes, in double).
void moments(double* mean, double* m2, const float* x, int64_t voxels, int64_t channels);

/// sums[c] += over voxels of x[c] - base[c], and squares[c] of its square, for x [voxels, channels], channels a
/// multiple of 8. In f32, so that voxels should be few.
void add_deviations(double* sums, double* squares, const float* x, const float* base, int64_t voxels, int64_t channels);

/// Where rows of results go: `stride` values apart, as f16 (held within its largest) or f32. `around_cache` stores them
/// past the caches, where nobody reads them soon: rows that begin on a multiple of 32 bytes and hold whole vectors;
/// settle() must follow before another thread reads them.
struct RowsTarget {
  void* first;
  int64_t stride;
  bool half, around_cache;
};
/// to = from + bias for rows of `count` values, `stride` apart in `from`; bias null for none.
void put_rows(const RowsTarget& to, const float* from, int64_t stride, const float* bias, int64_t rows, int64_t count);
void settle();

/// y = leaky_relu((x - center) * factor + shift), center, factor and shift [channels]; y may be x.
void normalise_leaky_relu(float* y, const float* x, const float* center, const float* factor, const float* shift,
                          float slope, int64_t voxels, int64_t channels);

/// y = leaky_relu(a + b); y may be a or b.
void add_leaky_relu(float* y, const float* a, const float* b, float slope, int64_t count);

/// Between f32 and f16; to the latter rounded to nearest even and held within +-kLargestF16 (half.h).
void widen(float* y, const f16* x, int64_t count);
void widen(float* y, const bf16* x, int64_t count);
void narrow(f16* y, const float* x, int64_t count);

/// To nearest, ties to even, as to_f16() and to_bf16() do: what is too large becomes infinite.
void round_to(f16* y, const float* x, int64_t count);
void round_to(bf16* y, const float* x, int64_t count);

/// One row of a layer norm; gain and bias null for 1 and 0.
void layer_norm(float* y, const float* x, const float* gain, const float* bias, int64_t channels, float eps);

}  // namespace sat::cpu::avx2
