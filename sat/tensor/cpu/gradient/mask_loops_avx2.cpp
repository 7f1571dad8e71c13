// The pointwise loops of the mask loss over vectors of eight prompts.
#include "sat/tensor/cpu/gradient/mask_loops.h"

#include <initializer_list>

#include "sat/tensor/cpu/vector/lanes_avx2.h"

namespace sat::cpu::avx2 {

namespace {

using V = __m256;

/// What sigmoid and cross-entropy share of a logit z: u = e^-|z|, q = 1 / (1 + u), so that p is q or u q.
struct Share {
  V u, p, slope;  // slope: p (1 - p)
};

Share share_of(V z) {
  const V u = exp_of<Lanes8>(_mm256_or_ps(z, _mm256_set1_ps(-0.f)));
  const V q = _mm256_div_ps(_mm256_set1_ps(1), _mm256_add_ps(_mm256_set1_ps(1), u)), other = _mm256_mul_ps(u, q);
  return {u, _mm256_blendv_ps(q, other, z), _mm256_mul_ps(q, other)};
}

/// ln(1 + u) for 0 <= u <= 1: twice the area tangent of s = u / (2 + u) <= 1/3, by its series to s^17.
V log_of_one_and(V u) {
  const V s = _mm256_div_ps(u, _mm256_add_ps(_mm256_set1_ps(2), u)), square = _mm256_mul_ps(s, s);
  V sum = _mm256_set1_ps(1.f / 17);
  for (const float term : {1.f / 15, 1.f / 13, 1.f / 11, 1.f / 9, 1.f / 7, 1.f / 5, 1.f / 3, 1.f}) {
    sum = _mm256_fmadd_ps(sum, square, _mm256_set1_ps(term));
  }
  return _mm256_mul_ps(_mm256_add_ps(s, s), sum);
}

/// All ones in the lanes whose bit of a byte is set.
V lanes_of(uint8_t byte) {
  const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(byte), each), each));
}

}  // namespace

void add_mask_sums(float* sums, const float* logits, const MaskBits& bits, int64_t voxels) {
  const V one = _mm256_set1_ps(1);
  for (int64_t half = 0; half < bits.count; ++half) {
    V overlap = _mm256_setzero_ps(), squares = overlap, wanted = overlap, entropy = overlap;
    for (int64_t voxel = 0; voxel < voxels; ++voxel) {
      const V z = _mm256_loadu_ps(logits + voxel * kMaskPanel + 8 * half),
              t = lanes_of(bits.first[voxel * bits.stride + half]);
      const Share share = share_of(z);
      overlap = _mm256_add_ps(overlap, _mm256_and_ps(t, share.p));
      squares = _mm256_fmadd_ps(share.p, share.p, squares);
      wanted = _mm256_add_ps(wanted, _mm256_and_ps(t, one));
      const V linear = _mm256_sub_ps(_mm256_max_ps(z, _mm256_setzero_ps()), _mm256_and_ps(t, z));
      entropy = _mm256_add_ps(entropy, _mm256_add_ps(linear, log_of_one_and(share.u)));
    }
    float* to = sums + 8 * half;
    for (const V value : {overlap, squares, wanted, entropy}) {
      _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), value));
      to += kMaskPanel;
    }
  }
}

void mask_slopes(float* logits, const float* k, const MaskBits& bits, int64_t voxels) {
  const V one = _mm256_set1_ps(1);
  for (int64_t half = 0; half < bits.count; ++half) {
    const V k0 = _mm256_loadu_ps(k + 8 * half), k1 = _mm256_loadu_ps(k + kMaskPanel + 8 * half),
            k2 = _mm256_loadu_ps(k + 2 * kMaskPanel + 8 * half);
    for (int64_t voxel = 0; voxel < voxels; ++voxel) {
      float* at = logits + voxel * kMaskPanel + 8 * half;
      const V t = _mm256_and_ps(lanes_of(bits.first[voxel * bits.stride + half]), one);
      const Share share = share_of(_mm256_loadu_ps(at));
      const V dice = _mm256_mul_ps(share.slope, _mm256_fmadd_ps(k1, share.p, _mm256_mul_ps(k0, t)));
      _mm256_storeu_ps(at, _mm256_fmadd_ps(k2, _mm256_sub_ps(share.p, t), dice));
    }
  }
}

}  // namespace sat::cpu::avx2
