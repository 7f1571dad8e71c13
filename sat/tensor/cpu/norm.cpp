// Norms over the last axis on the CPU: the plain form, and rows of the vector form (vector/vector_avx2.h).
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kRowsAPiece = 16;

/// The plain form of one row: both sums in double.
void layer_norm_row(float* y, const float* x, const float* gain, const float* bias, int64_t channels, float eps) {
  double mean = 0, variance = 0;
  for (int64_t c = 0; c < channels; ++c) mean += double(x[c]);
  mean /= double(channels);
  for (int64_t c = 0; c < channels; ++c) variance += (double(x[c]) - mean) * (double(x[c]) - mean);
  const double scale = 1 / std::sqrt(variance / double(channels) + double(eps));
  for (int64_t c = 0; c < channels; ++c)
    y[c] = float((double(x[c]) - mean) * scale) * (gain ? gain[c] : 1.f) + (bias ? bias[c] : 0.f);
}

}  // namespace

void CpuBackend::layer_norm(Tensor& y, const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) {
  const auto row = current_simd() ? avx2::layer_norm : layer_norm_row;
  const int64_t channels = x.shape[-1];
  float* to = y.address<float>();
  const float *from = x.address<float>(), *scale = gain.address<float>(), *shift = bias.address<float>();
  parallel_for(x.numel() / channels, kRowsAPiece, [&](int64_t first, int64_t last) {
    for (int64_t at = first * channels; at < last * channels; at += channels) {
      row(to + at, from + at, scale, shift, channels, eps);
    }
  });
}

}  // namespace sat::cpu
