// Gradients of norms over the last axis on the CPU, and rows of length 1. Sums are taken in double.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
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

}  // namespace

// With z = (x - mean) rstd and g = dy * gain: dx = rstd (g - mean g - z mean(g z)), dgain = sum dy z, dbias = sum dy.
void CpuBackend::layer_norm_gradient(Tensor& dx, Tensor& dgain, Tensor& dbias, const Tensor& dy, const Tensor& x,
                                     const Tensor& gain, float eps) {
  const int64_t channels = x.shape[-1], rows = x.numel() / channels, pieces = divide_up(rows, kRows);
  const float *from = x.address<float>(), *upstream = dy.address<float>();
  const float* gains = gain.empty() ? nullptr : gain.address<float>();
  float* to = dx.address<float>();
  const bool learns = !dgain.empty();
  std::vector<double> parts(size_t(learns ? 2 * pieces * channels : 0), 0.);
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    double* part = learns ? parts.data() + 2 * piece * channels : nullptr;
    for (int64_t row = piece * kRows; row < std::min(rows, (piece + 1) * kRows); ++row) {
      const float *values = from + row * channels, *d = upstream + row * channels;
      double mean = 0, variance = 0, mean_g = 0, mean_gz = 0;
      for (int64_t c = 0; c < channels; ++c) mean += double(values[c]) / double(channels);
      for (int64_t c = 0; c < channels; ++c) {
        variance += (double(values[c]) - mean) * (double(values[c]) - mean) / double(channels);
      }
      const double rstd = 1 / std::sqrt(variance + double(eps));
      for (int64_t c = 0; c < channels; ++c) {
        const double z = (double(values[c]) - mean) * rstd, g = double(d[c]) * (gains ? double(gains[c]) : 1);
        mean_g += g / double(channels);
        mean_gz += g * z / double(channels);
        if (!part) continue;
        part[c] += double(d[c]) * z;
        part[channels + c] += double(d[c]);
      }
      for (int64_t c = 0; c < channels; ++c) {
        const double z = (double(values[c]) - mean) * rstd, g = double(d[c]) * (gains ? double(gains[c]) : 1);
        to[row * channels + c] = float(rstd * (g - mean_g - z * mean_gz));
      }
    }
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
