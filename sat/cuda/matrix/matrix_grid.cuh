// Private: how kernels walk a matrix element by element. A block takes a run of kMatrixThreads columns of one row. So
// no thread divides, neighbours read neighbours, and the grid's x axis (2^31 blocks) holds any matrix.
#pragma once

#include <cstdint>

#include "sat/cuda/device/stream.h"

namespace sat::cuda {

constexpr int kMatrixThreads = 256;

inline unsigned matrix_grid(int64_t rows, int64_t columns) {
  return unsigned(rows * divide_up(columns, kMatrixThreads));
}

struct Element {
  int64_t row, column;  // the last columns of a row's last block are not there
};
__device__ inline Element element_of(int64_t columns) {
  const unsigned runs = unsigned((columns + kMatrixThreads - 1) / kMatrixThreads);
  return {int64_t(blockIdx.x / runs), int64_t(blockIdx.x % runs) * kMatrixThreads + threadIdx.x};
}

}  // namespace sat::cuda
