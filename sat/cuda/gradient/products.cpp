// Products of the columns of two matrices: the gradient of a dense layer's weight.
#include <limits>

#include "sat/cuda/backend.h"
#include "sat/cuda/matrix/narrow.h"

namespace sat::cuda {

void CudaBackend::product_of_columns(Tensor& y, const Tensor& a, const Tensor& b) {
  const int64_t rows = a.shape[0], M = a.shape[1], N = b.shape[1];
  if (y.numel() == 0) return;
  if (rows == 0) return runtime_.zero(y.raw(), y.bytes());
  SAT_CHECK(std::max({rows, M, N}) <= std::numeric_limits<int>::max(), "a product of the columns of ", a.shape, " and ",
            b.shape, ": cuBLAS takes up to 2147483647 of each");
  const Stream& stream = runtime_.stream();
  const DType type = gradient_type();
  const auto held = [&](const Tensor& x) { return type == DType::f32 ? x : narrowed(stream, x, type); };
  const Tensor left = held(a), right = held(b);
  if (stream.dry) return;
  // Row-major y [M, N] = a^T b is column-major y^T [N, M] = b^T a, where a row-major matrix is its own transpose.
  const float one = 1, none = 0;
  const cublasStatus_t status =
      cublasGemmEx(runtime_.blas(), CUBLAS_OP_N, CUBLAS_OP_T, int(N), int(M), int(rows), &one, right.raw(),
                   blas_type(type), int(right.shape[1]), left.raw(), blas_type(type), int(left.shape[1]), &none,
                   y.raw(), CUDA_R_32F, int(N), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  SAT_CHECK(status == CUBLAS_STATUS_SUCCESS, "product_of_columns: cuBLAS says ", cublasGetStatusString(status));
}

}  // namespace sat::cuda
