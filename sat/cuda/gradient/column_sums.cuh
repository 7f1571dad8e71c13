// Private: sums over the rows of a matrix whose terms are made on the way: over rows of tokens, or a sample's voxels.
#pragma once

#include <algorithm>

#include "sat/cuda/gradient/piece_sums.h"
#include "sat/tensor/tensor.h"

namespace sat::cuda {

constexpr int kSumColumns = 32, kSumRows = 8;  // of a block's threads
constexpr int kSumRun = 16;                    // rows that a thread sums in f32
constexpr int64_t kPieceRows = 256, kMostPieces = 1024;

/// Rows whose sums a block takes, by their number alone.
inline int64_t rows_a_piece(int64_t rows) {
  return divide_up(std::max(kPieceRows, divide_up(rows, kMostPieces)), kPieceRows) * kPieceRows;
}

/// parts [pieces][kSums][columns] of terms(values[kSums], row, column).
/// One block 32 columns of a piece of rows, a thread every eighth row: 16 of them in f32, these runs in double, and the
/// eight threads' sums in order. A warp takes 32 neighbouring columns. Traffic: what the terms read.
template <int kSums, class Terms>
__global__ void __launch_bounds__(kSumColumns* kSumRows)
    column_sums_kernel(double* parts, const Terms terms, int64_t rows, int64_t columns, int64_t piece_rows) {
  __shared__ double shared[kSums][kSumRows][kSumColumns];
  const int64_t column = int64_t(blockIdx.x) * kSumColumns + threadIdx.x;
  const int64_t first = blockIdx.y * piece_rows, last = min(first + piece_rows, rows);
  double sums[kSums] = {};
  for (int64_t row = first + threadIdx.y; row < last && column < columns;) {
    float run[kSums] = {};
    for (int i = 0; i < kSumRun && row < last; ++i, row += kSumRows) {
      float values[kSums];
      terms(values, row, column);
#pragma unroll
      for (int s = 0; s < kSums; ++s) run[s] += values[s];
    }
#pragma unroll
    for (int s = 0; s < kSums; ++s) sums[s] += double(run[s]);
  }
#pragma unroll
  for (int s = 0; s < kSums; ++s) shared[s][threadIdx.y][threadIdx.x] = sums[s];
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
    for (int i = 1; i < kSumRows; ++i) sums[s] += shared[s][i][threadIdx.x];
    parts[(blockIdx.y * kSums + s) * columns + column] = sums[s];
  }
}

/// sums [kSums][columns] in double.
template <int kSums, class Terms>
void column_sums(const Stream& stream, const char* name, double* sums, const Terms& terms, int64_t rows,
                 int64_t columns, Device device) {
  const int64_t piece_rows = rows_a_piece(rows), pieces = divide_up(rows, piece_rows);
  Tensor parts = doubles({pieces, kSums, columns}, device);
  auto* own = static_cast<double*>(parts.raw());
  const dim3 grid(unsigned(divide_up(columns, kSumColumns)), unsigned(pieces));
  launch(stream, {name, grid, dim3(kSumColumns, kSumRows)}, column_sums_kernel<kSums, Terms>, own, terms, rows, columns,
         piece_rows);
  add_pieces(stream, sums, own, {pieces, kSums * columns, kSums * columns});
}

}  // namespace sat::cuda
