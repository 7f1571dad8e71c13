// Gradients of norms over the last axis on the CPU, and rows of length 1. Sums are taken in double; a row of the vector
// form sums in f32, and so do a few rows for the gradients of gain and bias.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/row_loops.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kRows = 16;        // a piece
constexpr double kShortest = 1e-12;  // below which a row is divided by this, as torch.nn.functional.normalize

double length_of(const float* row, int64_t count) {
  double sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += double(row[c]) * double(row[c]);
  return std::sqrt(sum);
}

/// One row of a layer norm's gradient; adds dy * z and dy to `part` where it is not null.
void plain_row(float* dx, double* part, const float* dy, const float* x, const float* gain, int64_t channels,
               double eps) {
  const auto count = double(channels);
  double mean = 0, variance = 0, mean_g = 0, mean_gz = 0;
  for (int64_t c = 0; c < channels; ++c) mean += double(x[c]) / count;
  for (int64_t c = 0; c < channels; ++c) variance += (double(x[c]) - mean) * (double(x[c]) - mean) / count;
  const double rstd = 1 / std::sqrt(variance + eps);
  const auto z = [&](int64_t c) { return (double(x[c]) - mean) * rstd; };
  const auto g = [&](int64_t c) { return double(dy[c]) * (gain ? double(gain[c]) : 1); };
  for (int64_t c = 0; c < channels; ++c) {
    mean_g += g(c) / count;
    mean_gz += g(c) * z(c) / count;
    if (!part) continue;
    part[c] += double(dy[c]) * z(c);
    part[channels + c] += double(dy[c]);
  }
  for (int64_t c = 0; c < channels; ++c) dx[c] = float(rstd * (g(c) - mean_g - z(c) * mean_gz));
}

}  // namespace

// With z = (x - mean) rstd and g = dy * gain: dx = rstd (g - mean g - z mean(g z)), dgain = sum dy z, dbias = sum dy.
void CpuBackend::layer_norm_gradient(Tensor& dx, Tensor& dgain, Tensor& dbias, const Tensor& dy, const Tensor& x,
                                     const Tensor& gain, float eps) {
  const int64_t channels = x.shape[-1], rows = x.numel() / channels, pieces = divide_up(rows, kRows);
  const float *from = x.address<float>(), *upstream = dy.address<float>();
  const float* gains = gain.empty() ? nullptr : gain.address<float>();
  float* to = dx.address<float>();
  const bool learns = !dgain.empty();
  const bool vector = current_simd() != nullptr;
  std::vector<double> parts(size_t(learns ? 2 * pieces * channels : 0), 0.);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    double* part = learns ? parts.data() + 2 * piece * channels : nullptr;
    std::vector<float> sums(size_t(learns && vector ? 2 * channels : 0), 0.f);
    for (int64_t row = piece * kRows; row < std::min(rows, (piece + 1) * kRows); ++row) {
      const int64_t at = row * channels;
      if (vector) {
        avx2::layer_norm_gradient(to + at, learns ? sums.data() : nullptr, upstream + at, from + at, gains, channels,
                                  eps);
      } else {
        plain_row(to + at, part, upstream + at, from + at, gains, channels, double(eps));
      }
    }
    for (size_t i = 0; i < sums.size(); ++i) part[i] = double(sums[i]);
  });
  if (!learns) return;
  float *to_gain = dgain.address<float>(), *to_bias = dbias.address<float>();
  parallel_for(channels, 256, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      double dz = 0, d = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        dz += parts[size_t(2 * piece * channels + c)];
        d += parts[size_t((2 * piece + 1) * channels + c)];
      }
      to_gain[c] = float(dz);
      to_bias[c] = float(d);
    }
  });
}

void CpuBackend::normalize_rows(Tensor& y, const Tensor& x) {
  const int64_t channels = x.shape[1];
  const float* from = x.address<float>();
  float* to = y.address<float>();
  parallel_for(x.shape[0], kRows, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const double length = std::max(kShortest, length_of(from + row * channels, channels));
      for (int64_t c = 0; c < channels; ++c) to[row * channels + c] = float(double(from[row * channels + c]) / length);
    }
  });
}

// dx = (dy - y (y . dy)) / |x|.
void CpuBackend::normalize_rows_gradient(Tensor& dx, const Tensor& dy, const Tensor& x) {
  const int64_t channels = x.shape[1];
  const float *from = x.address<float>(), *upstream = dy.address<float>();
  float* to = dx.address<float>();
  parallel_for(x.shape[0], kRows, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float *values = from + row * channels, *d = upstream + row * channels;
      const double length = length_of(values, channels);
      double along = 0;
      for (int64_t c = 0; c < channels; ++c) along += double(values[c]) * double(d[c]);
      along = length > kShortest ? along / (length * length) : 0;
      for (int64_t c = 0; c < channels; ++c) {
        to[row * channels + c] = float((double(d[c]) - double(values[c]) * along) / std::max(kShortest, length));
      }
    }
  });
}

}  // namespace sat::cpu
