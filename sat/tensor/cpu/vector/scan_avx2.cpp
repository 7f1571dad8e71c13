// AVX2 forms of Mamba's two steps along a sequence: eight channels at a time, each in a lane of its own, so that no sum
// crosses lanes and a channel's result does not depend on its neighbours.
#include <immintrin.h>

#include <cstdint>

#include "sat/tensor/cpu/scan.h"
#include "sat/tensor/cpu/vector/lanes_avx2.h"

namespace sat::cpu::avx2 {

namespace {

constexpr int64_t kLanes = Lanes8::kLanes;

/// x / (1 + e^-x), from e^-|x|.
__m256 silu(__m256 x) {
  const __m256 e = exp_of<Lanes8>(_mm256_or_ps(x, _mm256_set1_ps(-0.f))), one = _mm256_set1_ps(1.f);
  const __m256 above = _mm256_blendv_ps(one, e, x);  // e^x / (1 + e^x) where x < 0
  return _mm256_mul_ps(x, _mm256_div_ps(above, _mm256_add_ps(one, e)));
}

/// log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|; log(1 + t) = 2 artanh(t / (2 + t)) by its series, whose argument
/// is at most 1/3, so that what is left out is below 2e-9 of it.
__m256 softplus(__m256 x) {
  const __m256 t = exp_of<Lanes8>(_mm256_or_ps(x, _mm256_set1_ps(-0.f)));
  const __m256 s = _mm256_div_ps(t, _mm256_add_ps(_mm256_set1_ps(2.f), t)), square = _mm256_mul_ps(s, s);
  __m256 series = _mm256_set1_ps(1.f / 15);
  constexpr float kTerms[] = {1.f / 13, 1.f / 11, 1.f / 9, 1.f / 7, 1.f / 5, 1.f / 3, 1.f};
  for (const float term : kTerms) {
    series = _mm256_fmadd_ps(series, square, _mm256_set1_ps(term));
  }
  const __m256 log = _mm256_mul_ps(_mm256_add_ps(s, s), series);
  return _mm256_add_ps(_mm256_max_ps(_mm256_setzero_ps(), x), log);
}

/// Lanes [0, count) are there.
__m256i lanes_below(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(count < kLanes ? count : kLanes)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

}  // namespace

void scan_steps(const ScanPiece& piece, float* state, float* total_step) {
  const __m256i there = lanes_below(piece.channels);
  const __m256 direct = piece.direct ? _mm256_maskload_ps(piece.direct, there) : _mm256_setzero_ps();
  __m256 total = _mm256_setzero_ps();
  for (int64_t l = 0; l < piece.steps; ++l) {
    const __m256 step = softplus(_mm256_maskload_ps(piece.delta + l * piece.stride, there));
    const __m256 x = _mm256_maskload_ps(piece.x + l * piece.stride, there);
    const __m256 input = _mm256_mul_ps(step, x);
    total = _mm256_add_ps(total, step);
    __m256 sum = _mm256_mul_ps(direct, x);
    for (int64_t n = 0; n < piece.states; ++n) {
      const __m256 decay = exp_of<Lanes8>(_mm256_mul_ps(step, _mm256_loadu_ps(piece.rates + n * kLanes)));
      const __m256 driven = _mm256_mul_ps(input, _mm256_broadcast_ss(piece.b + l * piece.states + n));
      const __m256 h = _mm256_fmadd_ps(decay, _mm256_loadu_ps(state + n * kLanes), driven);
      _mm256_storeu_ps(state + n * kLanes, h);
      sum = _mm256_fmadd_ps(h, _mm256_broadcast_ss(piece.c + l * piece.states + n), sum);
    }
    if (!piece.y) continue;
    const __m256 gate = silu(_mm256_maskload_ps(piece.gate + l * piece.stride, there));
    _mm256_maskstore_ps(piece.y + l * piece.stride, there, _mm256_mul_ps(sum, gate));
  }
  if (total_step) _mm256_storeu_ps(total_step, total);
}

void causal_conv_silu(float* y, const float* const* taps, const float* kernel, const float* bias, int64_t count,
                      int64_t channels) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const __m256i there = lanes_below(channels - c);
    __m256 sum = _mm256_maskload_ps(bias + c, there);
    for (int64_t tap = 0; tap < count; ++tap) {
      if (!taps[tap]) continue;
      const __m256 weight = _mm256_maskload_ps(kernel + tap * channels + c, there);
      sum = _mm256_fmadd_ps(weight, _mm256_maskload_ps(taps[tap] + c, there), sum);
    }
    _mm256_maskstore_ps(y + c, there, silu(sum));
  }
}

}  // namespace sat::cpu::avx2
