// The covariance is a product of the centred rows, its axes come from orthogonal iteration.
#include "examples/sat/pictures/components.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/ops.h"
#include "sat/tensor/parallel.h"

namespace sat::cli {

namespace {

constexpr int64_t kKept = 8;  // axes iterated together: the first three of them settle soon
constexpr int kRounds = 200;

using Axes = std::vector<std::vector<double>>;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Gram-Schmidt, in order; an axis that is nothing but the earlier ones stays zero.
void make_orthogonal(Axes& axes) {
  for (size_t i = 0; i < axes.size(); ++i) {
    for (int twice = 0; twice < 2; ++twice) {
      for (size_t j = 0; j < i; ++j) {
        const double along = dot(axes[i], axes[j]);
        for (size_t c = 0; c < axes[i].size(); ++c) axes[i][c] -= along * axes[j][c];
      }
    }
    const double length = std::sqrt(dot(axes[i], axes[i]));
    for (double& value : axes[i]) value = length > 1e-30 ? value / length : 0;
  }
}

Axes times(const Tensor& covariance, const Axes& axes) {
  const int64_t C = covariance.shape[0];
  Axes result(axes.size(), std::vector<double>(size_t(C)));
  parallel_for(C, 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* values = covariance.data<float>() + row * C;
      for (size_t i = 0; i < axes.size(); ++i) {
        double sum = 0;
        for (int64_t c = 0; c < C; ++c) sum += double(values[c]) * axes[i][size_t(c)];
        result[i][size_t(row)] = sum;
      }
    }
  });
  return result;
}

/// Rows less their mean, a channel a row: [C, N].
Tensor centred_channels(const Tensor& rows, const std::vector<double>& mean) {
  const int64_t N = rows.shape[0], C = rows.shape[1];
  Tensor channels({C, N});
  parallel_for(C, 8, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      for (int64_t n = 0; n < N; ++n) {
        channels.data<float>()[c * N + n] = float(double(rows.data<float>()[n * C + c]) - mean[size_t(c)]);
      }
    }
  });
  return channels;
}

}  // namespace

Components principal_components(const Tensor& rows) {
  const int64_t N = rows.shape[0], C = rows.shape[1];
  SAT_CHECK(N >= 2 && C >= kComponents, "principal components: rows of shape ", rows.shape,
            ", need at least two rows of ", kComponents, " channels");
  Components found;
  found.mean.assign(size_t(C), 0);
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = 0; c < C; ++c) found.mean[size_t(c)] += double(rows.data<float>()[n * C + c]) / double(N);
  }
  const Tensor channels = centred_channels(rows, found.mean);
  const Tensor covariance = product_transposed(channels, channels);
  double total = 0;
  for (int64_t c = 0; c < C; ++c) total += double(covariance.data<float>()[c * C + c]);

  Axes axes(size_t(std::min(kKept, C)), std::vector<double>(size_t(C)));
  for (size_t i = 0; i < axes.size(); ++i) {
    for (size_t c = 0; c < size_t(C); ++c) axes[i][c] = std::sin(double((i + 1) * (c + 1)));  // no axis of any data
  }
  make_orthogonal(axes);
  for (int round = 0; round < kRounds; ++round) {
    axes = times(covariance, axes);
    make_orthogonal(axes);
  }
  const Axes spread = times(covariance, axes);
  for (size_t i = 0; i < size_t(kComponents); ++i) {
    found.share[i] = total > 0 ? dot(axes[i], spread[i]) / total : 0;
    const auto largest = std::max_element(axes[i].begin(), axes[i].end(),
                                          [](double a, double b) { return std::fabs(a) < std::fabs(b); });
    const double sign = *largest < 0 ? -1 : 1;
    for (double& value : axes[i]) value *= sign;
    found.axes.push_back(axes[i]);
  }
  return found;
}

Tensor projected(const Components& components, const Tensor& rows) {
  const int64_t N = rows.shape[0], C = rows.shape[1];
  Tensor along({N, kComponents});
  parallel_for(N, 64, [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      for (int64_t k = 0; k < kComponents; ++k) {
        double sum = 0;
        for (int64_t c = 0; c < C; ++c) {
          sum += (double(rows.data<float>()[n * C + c]) - components.mean[size_t(c)]) *
                 components.axes[size_t(k)][size_t(c)];
        }
        along.data<float>()[n * kComponents + k] = float(sum);
      }
    }
  });
  return along;
}

Tensor component_colours(const Tensor& projections) {
  const int64_t N = projections.shape[0];
  Tensor colours({N, kComponents}, DType::u8);
  for (int64_t k = 0; k < kComponents; ++k) {
    std::vector<float> sorted;
    for (int64_t n = 0; n < N; ++n) sorted.push_back(projections.data<float>()[n * kComponents + k]);
    std::sort(sorted.begin(), sorted.end());
    const auto low = double(sorted[size_t(0.02 * double(N - 1))]), high = double(sorted[size_t(0.98 * double(N - 1))]);
    for (int64_t n = 0; n < N; ++n) {
      const double value = double(projections.data<float>()[n * kComponents + k]);
      const double part = high > low ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 0.5;
      colours.data<uint8_t>()[n * kComponents + k] = uint8_t(std::lround(255 * part));
    }
  }
  return colours;
}

}  // namespace sat::cli
