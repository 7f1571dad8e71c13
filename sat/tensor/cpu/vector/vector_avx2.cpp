// AVX2 forms of the loops that wait for memory or take few numbers: GELU and tanh, softmax and normalisations.
// Eight numbers at a time; what is left over goes through the same arithmetic in a padded block of eight.
#include "sat/tensor/cpu/vector/vector_avx2.h"

#include <immintrin.h>

#include "sat/tensor/cpu/vector/lanes_avx2.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/half.h"

namespace sat::cpu::avx2 {

namespace {

using L = Lanes8;
constexpr int64_t kLanes = L::kLanes;

/// tanh(x / 2) = -m / (2 + m) with m = e^-|x| - 1, and x's sign.
__m256 tanh_of_half(__m256 x) {
  const __m256 sign = _mm256_set1_ps(-0.f), one = _mm256_set1_ps(1.f);
  const Expm1<L> e = expm1_parts<L>(_mm256_or_ps(x, sign));
  const __m256 m = _mm256_fmadd_ps(e.power, e.p, _mm256_sub_ps(e.power, one));
  const __m256 size = _mm256_div_ps(_mm256_andnot_ps(sign, m), _mm256_add_ps(_mm256_set1_ps(2.f), m));
  return _mm256_or_ps(size, _mm256_and_ps(x, sign));
}

/// sums[c] += over rows of (x[c] - center[c])^2, or of x[c] where center is null; four channels at a time in double.
void add_up(double* sums, const float* x, const double* center, int64_t rows, int64_t channels) {
  int64_t c = 0;
  for (; c + 16 <= channels; c += 16) {
    __m256d sum[4], middle[4];
    for (int i = 0; i < 4; ++i) {
      sum[i] = _mm256_loadu_pd(sums + c + 4 * i);
      middle[i] = center ? _mm256_loadu_pd(center + c + 4 * i) : _mm256_setzero_pd();
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int i = 0; i < 4; ++i) {
        const __m256d value = _mm256_cvtps_pd(_mm_loadu_ps(x + row * channels + c + 4 * i));
        const __m256d difference = _mm256_sub_pd(value, middle[i]);
        sum[i] = center ? _mm256_fmadd_pd(difference, difference, sum[i]) : _mm256_add_pd(sum[i], value);
      }
    }
    for (int i = 0; i < 4; ++i) _mm256_storeu_pd(sums + c + 4 * i, sum[i]);
  }
  for (; c < channels; ++c) {
    for (int64_t row = 0; row < rows; ++row) {
      const double value = double(x[row * channels + c]);
      sums[c] += center ? (value - center[c]) * (value - center[c]) : value;
    }
  }
}

/// add_deviations() of Vectors * 8 channels: as many sums as hide the latency of an addition.
template <int Vectors>
void add_deviations_of(double* sums, double* squares, const float* x, const float* base, int64_t voxels,
                       int64_t channels) {
  __m256 middle[Vectors], sum[Vectors], square[Vectors];
  for (int i = 0; i < Vectors; ++i) {
    middle[i] = _mm256_loadu_ps(base + i * kLanes);
    sum[i] = square[i] = _mm256_setzero_ps();
  }
  for (int64_t voxel = 0; voxel < voxels; ++voxel, x += channels) {
    for (int i = 0; i < Vectors; ++i) {
      const __m256 difference = _mm256_sub_ps(_mm256_loadu_ps(x + i * kLanes), middle[i]);
      sum[i] = _mm256_add_ps(sum[i], difference);
      square[i] = _mm256_fmadd_ps(difference, difference, square[i]);
    }
  }
  for (int i = 0; i < Vectors; ++i) {
    alignas(32) float of_sum[kLanes], of_square[kLanes];
    _mm256_store_ps(of_sum, sum[i]);
    _mm256_store_ps(of_square, square[i]);
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      sums[i * kLanes + lane] += double(of_sum[lane]);
      squares[i * kLanes + lane] += double(of_square[lane]);
    }
  }
}

template <bool Around>
void put(float* to, __m256 value) {
  if constexpr (Around) {
    _mm256_stream_ps(to, value);
  } else {
    _mm256_storeu_ps(to, value);
  }
}

/// As f16.
template <bool Around>
void put(uint16_t* to, __m256 value) {
  const __m256 largest = _mm256_set1_ps(kLargestF16), lowest = _mm256_set1_ps(-kLargestF16);
  const __m256 bounded = _mm256_min_ps(_mm256_max_ps(value, lowest), largest);
  const __m128i half = _mm256_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT);
  if constexpr (Around) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), half);
  } else {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), half);
  }
}

/// to = from + bias, of the type that is stored.
template <bool Around, class T>
void put_row(T* to, const float* from, const float* bias, int64_t count) {  // bias null for none
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 value = _mm256_loadu_ps(from + i);
    put<Around>(to + i, bias ? _mm256_add_ps(value, _mm256_loadu_ps(bias + i)) : value);
  }
  if (i == count) return;
  const __m256 value = L::load_some(from + i, count - i, 0);
  T some[kLanes];
  put<false>(some, bias ? _mm256_add_ps(value, L::load_some(bias + i, count - i, 0)) : value);
  for (int64_t rest = 0; i < count; ++i, ++rest) to[i] = some[rest];
}

template <bool Around, class T>
void put_rows_of(const RowsTarget& to, const float* from, int64_t stride, const float* bias, int64_t rows,
                 int64_t count) {
  for (int64_t row = 0; row < rows; ++row) {
    put_row<Around, T>(static_cast<T*>(to.first) + row * to.stride, from + row * stride, bias, count);
  }
}

/// Sum over a row of x, or of (x - center)^2, in double.
template <bool Squares>
double row_sum(const float* x, int64_t count, double center) {
  __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
  const __m256d middle = _mm256_set1_pd(center);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int half = 0; half < 2; ++half) {
      const __m256d value = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * half)), middle);
      sum[half] = Squares ? _mm256_fmadd_pd(value, value, sum[half]) : _mm256_add_pd(sum[half], value);
    }
  }
  alignas(32) double lanes[4];
  _mm256_store_pd(lanes, _mm256_add_pd(sum[0], sum[1]));
  double total = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
  for (; i < count; ++i) {
    const double value = double(x[i]) - center;
    total += Squares ? value * value : value;
  }
  return total;
}

__m128i to_eight_f16(__m256 x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }

__m128i to_eight_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i all = _mm256_blendv_epi8(rounded, quiet, is_nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

template <class To>
void round_all(To* y, const float* x, int64_t count, __m128i (*eight)(__m256)) {
  auto* to = reinterpret_cast<uint16_t*>(y);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), eight(_mm256_loadu_ps(x + i)));
  }
  if (i == count) return;
  alignas(32) float rest[kLanes] = {};
  alignas(16) uint16_t narrow[kLanes];
  for (int64_t j = i; j < count; ++j) rest[j - i] = x[j];
  _mm_store_si128(reinterpret_cast<__m128i*>(narrow), eight(_mm256_load_ps(rest)));
  for (int64_t j = i; j < count; ++j) to[j] = narrow[j - i];
}

}  // namespace

void gelu(float* x, int64_t count) { gelu_row<L>(x, count); }

void add_scaled(float* y, const float* residual, const float* x, const float* bias, const float* scale, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = bias ? x[i] + bias[i] : x[i];
    y[i] = scale ? __builtin_fmaf(scale[i], value, residual[i]) : residual[i] + value;
  }
}

void combine(float* y, const float* const* x, const float* sign, int64_t terms, int64_t count) {
  __m256 signs[4];
  for (int64_t t = 0; t < terms; ++t) signs[t] = _mm256_set1_ps(sign[t]);
  for (int64_t i = 0; i < count; i += kLanes) {
    __m256 sum = _mm256_mul_ps(signs[0], _mm256_loadu_ps(x[0] + i));
    for (int64_t t = 1; t < terms; ++t) sum = _mm256_fmadd_ps(signs[t], _mm256_loadu_ps(x[t] + i), sum);
    _mm256_storeu_ps(y + i, sum);
  }
}

float exponentials(float* x, const float* bias, float scale, int64_t count) {
  return exponentials_row<L>(x, bias, scale, count);
}

void add_tanh_half(float* scores, const float* logits, float weight, int64_t count) {
  const __m256 factor = _mm256_set1_ps(weight);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 value = tanh_of_half(_mm256_loadu_ps(logits + i));
    _mm256_storeu_ps(scores + i, _mm256_fmadd_ps(factor, value, _mm256_loadu_ps(scores + i)));
  }
  if (i < count) {
    const __m256 value = tanh_of_half(L::load_some(logits + i, count - i, 0));
    L::store_some(scores + i, _mm256_fmadd_ps(factor, value, L::load_some(scores + i, count - i, 0)), count - i);
  }
}

void moments(double* mean, double* m2, const float* x, int64_t voxels, int64_t channels) {
  const int64_t wanted = 2048 / (channels > 0 ? channels : 1);  // 8 KB: in the L1 cache for its channel blocks
  const int64_t rows = wanted > 8 ? wanted : 8;
  for (int64_t c = 0; c < channels; ++c) mean[c] = m2[c] = 0;
  for (int64_t v = 0; v < voxels; v += rows) {
    add_up(mean, x + v * channels, nullptr, rows < voxels - v ? rows : voxels - v, channels);
  }
  for (int64_t c = 0; c < channels; ++c) mean[c] /= double(voxels);
  for (int64_t v = 0; v < voxels; v += rows) {
    add_up(m2, x + v * channels, mean, rows < voxels - v ? rows : voxels - v, channels);
  }
}

void add_deviations(double* sums, double* squares, const float* x, const float* base, int64_t voxels,
                    int64_t channels) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) {
    add_deviations_of<4>(sums + c, squares + c, x + c, base + c, voxels, channels);
  }
  for (; c < channels; c += kLanes) add_deviations_of<1>(sums + c, squares + c, x + c, base + c, voxels, channels);
}

void put_rows(const RowsTarget& to, const float* from, int64_t stride, const float* bias, int64_t rows, int64_t count) {
  if (to.half) {
    (to.around_cache ? put_rows_of<true, uint16_t> : put_rows_of<false, uint16_t>)(to, from, stride, bias, rows, count);
  } else {
    (to.around_cache ? put_rows_of<true, float> : put_rows_of<false, float>)(to, from, stride, bias, rows, count);
  }
}

void settle() { _mm_sfence(); }

void normalise_leaky_relu(float* y, const float* x, const float* center, const float* factor, const float* shift,
                          float slope, int64_t voxels, int64_t channels) {
  const __m256 leak = _mm256_set1_ps(slope);
  for (int64_t v = 0; v < voxels; ++v, x += channels, y += channels) {
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const __m256 difference = _mm256_sub_ps(_mm256_loadu_ps(x + c), _mm256_loadu_ps(center + c));
      const __m256 value = _mm256_fmadd_ps(difference, _mm256_loadu_ps(factor + c), _mm256_loadu_ps(shift + c));
      _mm256_storeu_ps(y + c, _mm256_blendv_ps(value, _mm256_mul_ps(value, leak), value));
    }
    for (; c < channels; ++c) {
      const float value = __builtin_fmaf(x[c] - center[c], factor[c], shift[c]);
      y[c] = value < 0 ? slope * value : value;
    }
  }
}

void add_leaky_relu(float* y, const float* a, const float* b, float slope, int64_t count) {
  const __m256 leak = _mm256_set1_ps(slope);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
    _mm256_storeu_ps(y + i, _mm256_blendv_ps(sum, _mm256_mul_ps(sum, leak), sum));
  }
  for (; i < count; ++i) {
    const float sum = a[i] + b[i];
    y[i] = sum < 0 ? slope * sum : sum;
  }
}

void widen(float* y, const f16* x, int64_t count) {
  const auto* from = reinterpret_cast<const uint16_t*>(x);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  for (; i < count; ++i) y[i] = _cvtsh_ss(from[i]);
}

void widen(float* y, const bf16* x, int64_t count) {
  const auto* from = reinterpret_cast<const uint16_t*>(x);
  const auto eight = [](const uint16_t* values) {
    const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) _mm256_storeu_ps(y + i, eight(from + i));
  if (i == count) return;
  uint16_t rest[kLanes] = {};
  alignas(32) float wide[kLanes];
  for (int64_t j = i; j < count; ++j) rest[j - i] = from[j];
  _mm256_store_ps(wide, eight(rest));
  for (int64_t j = i; j < count; ++j) y[j] = wide[j - i];
}

void narrow(f16* y, const float* x, int64_t count) {
  put_row<false, uint16_t>(reinterpret_cast<uint16_t*>(y), x, nullptr, count);
}

void round_to(f16* y, const float* x, int64_t count) { round_all(y, x, count, to_eight_f16); }

void round_to(bf16* y, const float* x, int64_t count) { round_all(y, x, count, to_eight_bf16); }

void layer_norm(float* y, const float* x, const float* gain, const float* bias, int64_t channels, float eps) {
  const double mean = row_sum<false>(x, channels, 0) / double(channels);
  const double variance = row_sum<true>(x, channels, mean) / double(channels);
  const double scale = 1 / __builtin_sqrt(variance + double(eps));
  if (!gain) {
    for (int64_t c = 0; c < channels; ++c) y[c] = float((double(x[c]) - mean) * scale);
    return;
  }
  for (int64_t c = 0; c < channels; ++c) y[c] = __builtin_fmaf(float((double(x[c]) - mean) * scale), gain[c], bias[c]);
}

}  // namespace sat::cpu::avx2
