// Private: how kernels walk a matrix element by element. A block takes kMatrixThreads elements: as many neighbouring
// columns as a power of two holds, of as many rows as then fit. So no thread divides, neighbours read neighbours,
// narrow rows leave few threads idle, and the grid's x axis (2^31 blocks) holds any matrix.
#pragma once

#include <cstdint>

#include "sat/cuda/device/stream.h"

namespace sat::cuda {

constexpr int kMatrixThreads = 256;

inline dim3 matrix_block(int64_t columns) {
  unsigned across = 1;
  while (across < kMatrixThreads && across < columns) across *= 2;
  return {across, kMatrixThreads / across};
}

inline Launch over_matrix(const char* name, int64_t rows, int64_t columns) {
  const dim3 block = matrix_block(columns);
  return {name, unsigned(divide_up(rows, block.y) * divide_up(columns, block.x)), block};
}

struct Element {
  int64_t row, column;
  bool there;  // false behind the last row or column
};
__device__ inline Element element_of(int64_t rows, int64_t columns) {
  const unsigned runs = unsigned((columns + blockDim.x - 1) / blockDim.x);
  const int64_t row = int64_t(blockIdx.x / runs) * blockDim.y + threadIdx.y;
  const int64_t column = int64_t(blockIdx.x % runs) * blockDim.x + threadIdx.x;
  return {row, column, row < rows && column < columns};
}

}  // namespace sat::cuda
