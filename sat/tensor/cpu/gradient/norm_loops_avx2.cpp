// The loops of an instance norm's gradient over vectors of eight channels.
#include "sat/tensor/cpu/gradient/norm_loops.h"

#include <immintrin.h>

namespace sat::cpu::avx2 {

namespace {

constexpr int64_t kLanes = 8;

/// dn of eight channels.
__m256 through_relu(__m256 d, __m256 off, __m256 factor, __m256 shift, __m256 slope) {
  return _mm256_blendv_ps(d, _mm256_mul_ps(d, slope), _mm256_fmadd_ps(off, factor, shift));
}

float through_relu(float d, float off, float factor, float shift, float slope) {
  return __builtin_fmaf(off, factor, shift) < 0 ? d * slope : d;
}

/// Of kVectors vectors of channels, whose sums stay in registers.
template <int kVectors>
void add_sums(float* sums, float* products, const float* d, const float* y, const NormRows& norm, int64_t c,
              int64_t voxels, int64_t channels) {
  const __m256 slope = _mm256_set1_ps(norm.slope);
  __m256 sum[kVectors], product[kVectors];
  for (int i = 0; i < kVectors; ++i) sum[i] = product[i] = _mm256_setzero_ps();
  for (int64_t v = 0; v < voxels; ++v) {
    for (int i = 0; i < kVectors; ++i) {
      const int64_t at = c + i * kLanes;
      const __m256 off = _mm256_sub_ps(_mm256_loadu_ps(y + v * channels + at), _mm256_loadu_ps(norm.center + at));
      const __m256 dn = through_relu(_mm256_loadu_ps(d + v * channels + at), off, _mm256_loadu_ps(norm.factor + at),
                                     _mm256_loadu_ps(norm.shift + at), slope);
      sum[i] = _mm256_add_ps(sum[i], dn);
      product[i] = _mm256_fmadd_ps(dn, off, product[i]);
    }
  }
  for (int i = 0; i < kVectors; ++i) {
    const int64_t at = c + i * kLanes;
    _mm256_storeu_ps(sums + at, _mm256_add_ps(_mm256_loadu_ps(sums + at), sum[i]));
    _mm256_storeu_ps(products + at,
                     _mm256_fmadd_ps(product[i], _mm256_loadu_ps(norm.rstd + at), _mm256_loadu_ps(products + at)));
  }
}

}  // namespace

void add_norm_sums(float* sums, float* products, const float* d, const float* y, const NormRows& norm, int64_t voxels,
                   int64_t channels) {
  int64_t c = 0;
  for (; c + 2 * kLanes <= channels; c += 2 * kLanes) add_sums<2>(sums, products, d, y, norm, c, voxels, channels);
  for (; c + kLanes <= channels; c += kLanes) add_sums<1>(sums, products, d, y, norm, c, voxels, channels);
  for (; c < channels; ++c) {
    float sum = 0, product = 0;
    for (int64_t v = 0; v < voxels; ++v) {
      const float off = y[v * channels + c] - norm.center[c];
      const float dn = through_relu(d[v * channels + c], off, norm.factor[c], norm.shift[c], norm.slope);
      sum += dn;
      product = __builtin_fmaf(dn, off, product);
    }
    sums[c] += sum;
    products[c] = __builtin_fmaf(product, norm.rstd[c], products[c]);
  }
}

void apply_norm_gradient(float* d, const float* y, const NormRows& norm, const float* mean, const float* lean,
                         int64_t voxels, int64_t channels) {
  const __m256 slope = _mm256_set1_ps(norm.slope);
  for (int64_t v = 0; v < voxels; ++v, d += channels, y += channels) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const __m256 factor = _mm256_loadu_ps(norm.factor + c);
      const __m256 off = _mm256_sub_ps(_mm256_loadu_ps(y + c), _mm256_loadu_ps(norm.center + c));
      const __m256 dn = through_relu(_mm256_loadu_ps(d + c), off, factor, _mm256_loadu_ps(norm.shift + c), slope);
      const __m256 rest =
          _mm256_fnmadd_ps(off, _mm256_loadu_ps(lean + c), _mm256_sub_ps(dn, _mm256_loadu_ps(mean + c)));
      _mm256_storeu_ps(d + c, _mm256_mul_ps(factor, rest));
    }
    for (; c < channels; ++c) {
      const float off = y[c] - norm.center[c];
      const float dn = through_relu(d[c], off, norm.factor[c], norm.shift[c], norm.slope);
      d[c] = norm.factor[c] * __builtin_fmaf(-off, lean[c], dn - mean[c]);
    }
  }
}

}  // namespace sat::cpu::avx2
