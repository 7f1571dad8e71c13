// Private: matrices rounded to a half type for cuBLAS, and what it calls the types.
#pragma once

#include <cuda_runtime.h>

#include "sat/cuda/device/stream.h"
#include "sat/tensor/tensor.h"

namespace sat::cuda {

constexpr int64_t kHalfPadding = 8;  // elements of a half row, for 16-byte loads

/// x [rows, columns] rounded to nearest in a half type, rows filled with zeros up to `width`.
Tensor narrowed(const Stream& stream, const Tensor& x, int64_t rows, int64_t columns, int64_t width, DType dtype);

/// The same of a matrix, rows a multiple of kHalfPadding long.
Tensor narrowed(const Stream& stream, const Tensor& x, DType dtype);

cudaDataType_t blas_type(DType dtype);

}  // namespace sat::cuda
