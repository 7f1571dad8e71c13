// Gradients of dense layers, rows and sums on the CPU: products over rows, sums over rows, and what is element by
// element. Sums are taken in double in the order of the rows, a column by one thread.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/drop.h"
#include "sat/tensor/cpu/gradient/row_loops.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kGrain = 1 << 15;   // elements a piece
constexpr int64_t kSquare = 32;       // of a matrix that is transposed at once
constexpr int64_t kSummedRows = 256;  // in one go

/// gelu'(x) = Phi(x) + x phi(x).
float gelu_slope(float x) {
  const double v = double(x);
  const double below = 0.5 * std::erfc(-v / std::numbers::sqrt2);
  return float(below + v * std::exp(-0.5 * v * v) / std::sqrt(2 * std::numbers::pi));
}

}  // namespace

void CpuBackend::transpose(Tensor& y, const Tensor& x) {
  const int64_t rows = x.shape[1], columns = x.shape[2], bands = divide_up(rows, kSquare);
  const float* from = x.address<float>();
  float* to = y.address<float>();
  parallel_for(x.shape[0] * bands, 1, [&](int64_t item, int64_t) {
    const int64_t matrix = item / bands * rows * columns, row = item % bands * kSquare;
    const int64_t last = std::min(rows, row + kSquare);
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t r = row; r < last; ++r) to[matrix + column * rows + r] = from[matrix + r * columns + column];
    }
  });
}

void CpuBackend::sum_rows(Tensor& y, const Tensor& x) {
  const int64_t rows = x.shape[0], columns = x.shape[1], pieces = std::max<int64_t>(1, divide_up(rows, kSummedRows));
  const float* from = x.address<float>();
  float* to = y.address<float>();
  std::vector<double> sums(size_t(pieces * columns));
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    double* sum = sums.data() + piece * columns;
    for (int64_t row = piece * kSummedRows; row < std::min(rows, (piece + 1) * kSummedRows); ++row) {
      for (int64_t c = 0; c < columns; ++c) sum[c] += double(from[row * columns + c]);
    }
  });
  parallel_for(columns, 1024, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      double sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) sum += sums[size_t(piece * columns + c)];
      to[c] = float(sum);
    }
  });
}

void CpuBackend::multiply(Tensor& y, const Tensor& a, const Tensor& b) {
  const float *first = a.address<float>(), *second = b.address<float>();
  float* product = y.address<float>();
  const int64_t row = b.numel();
  parallel_for(a.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) product[i] = first[i] * second[i % row];
  });
}

void CpuBackend::activation_gradient(Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) {
  const float *upstream = dy.address<float>(), *at = x.address<float>();
  float* to = dx.address<float>();
  const bool vector = current_simd() != nullptr;
  parallel_for(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (act == Activation::gelu && vector) {
      return avx2::gelu_gradient(to + begin, upstream + begin, at + begin, end - begin);
    }
    if (act == Activation::gelu) {
      for (int64_t i = begin; i < end; ++i) to[i] = upstream[i] * gelu_slope(at[i]);
      return;
    }
    const float lowest = act == Activation::relu ? 0 : -INFINITY;
    for (int64_t i = begin; i < end; ++i) {
      const float d = upstream[i];
      to[i] = at[i] > lowest ? d : 0;
    }
  });
}

void CpuBackend::scatter_rows(Tensor& table, const Tensor& rows, const std::vector<int64_t>& ids) {
  const int64_t channels = table.shape[1];
  const float* from = rows.address<float>();
  float* to = table.address<float>();
  parallel_for(channels, 64, [&](int64_t first, int64_t last) {  // of all rows, so that equal ids add up in order
    for (size_t row = 0; row < ids.size(); ++row) {
      if (ids[row] < 0) continue;
      for (int64_t c = first; c < last; ++c) to[ids[row] * channels + c] += from[int64_t(row) * channels + c];
    }
  });
}

void CpuBackend::mean_of_rows_gradient(Tensor& dx, const Tensor& dy, const std::vector<int64_t>& first,
                                       const std::vector<uint8_t>& counted) {
  const int64_t channels = dx.shape[1];
  const float* from = dy.address<float>();
  float* to = dx.address<float>();
  parallel_for(dy.shape[0], 1, [&](int64_t run, int64_t) {
    const int64_t begin = first[size_t(run)], end = first[size_t(run) + 1];
    int64_t count = 0;
    for (int64_t row = begin; row < end; ++row) count += counted[size_t(row)] != 0 ? 1 : 0;
    for (int64_t row = begin; row < end; ++row) {
      const float share = counted[size_t(row)] != 0 ? 1 / float(count) : 0;
      for (int64_t c = 0; c < channels; ++c) to[row * channels + c] = share * from[run * channels + c];
    }
  });
}

void CpuBackend::dropout(Tensor& y, const Tensor& x, const Dropout& dropped) {
  const float* from = x.address<float>();
  float* to = y.address<float>();
  parallel_for(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = from[i] * drop_factor(dropped, i);
  });
}

void CpuBackend::leaky_relu_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, float slope) {
  const float *upstream = dy.address<float>(), *result = y.address<float>();
  float* to = dx.address<float>();
  parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = result[i] < 0 ? slope * upstream[i] : upstream[i];
  });
}

}  // namespace sat::cpu
