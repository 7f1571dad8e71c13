// Dense layers: cuBLAS's product, the rounding of its operands before it, bias and activation behind it.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

#include "sat/cuda/backend.h"
#include "sat/cuda/matrix/matrix_grid.cuh"

namespace sat::cuda {

namespace {

constexpr int64_t kPadding = 8;  // elements of a half row, for 16-byte loads

__device__ void store(__half* to, float value) { *to = __float2half_rn(value); }
__device__ void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// to [rows, padded_columns] = from [rows, columns] rounded to nearest, zeros behind it. Traffic: 1 read, 1 write.
template <class T>
__global__ void __launch_bounds__(kMatrixThreads)
    narrow_kernel(T* to, const float* from, int64_t columns, int64_t padded_columns) {
  const auto [row, column] = element_of(padded_columns);
  if (column >= padded_columns) return;
  store(to + row * padded_columns + column, column < columns ? from[row * columns + column] : 0.f);
}

template <Activation kAct>
__device__ float activated(float x) {
  if constexpr (kAct == Activation::relu) return fmaxf(x, 0.f);
  if constexpr (kAct == Activation::gelu) return 0.5f * x * (1.f + erff(x * 0.70710678118654752f));
  return x;
}

/// y [rows, out] = act(y + bias). GELU is the exact form, x * Phi(x). Traffic: 1 read and 1 write of y.
template <Activation kAct>
__global__ void __launch_bounds__(kMatrixThreads) bias_act_kernel(float* y, const float* bias, int64_t out) {
  const auto [row, column] = element_of(out);
  if (column >= out) return;
  float* at = y + row * out + column;
  *at = activated<kAct>(bias ? *at + bias[column] : *at);
}

/// x [rows, in] in a half type, rows filled with zeros up to `width`.
Tensor narrowed(const Stream& stream, const Tensor& x, int64_t rows, int64_t in, int64_t width, DType dtype) {
  Tensor to({rows, width}, dtype, x.device);
  const Launch how{"narrow", matrix_grid(rows, width), kMatrixThreads};
  if (dtype == DType::f16) {
    launch(stream, how, narrow_kernel<__half>, static_cast<__half*>(to.raw()), x.address<float>(), in, width);
  } else {
    launch(stream, how, narrow_kernel<__nv_bfloat16>, static_cast<__nv_bfloat16*>(to.raw()), x.address<float>(), in,
           width);
  }
  return to;
}

void add_bias(const Stream& stream, float* y, const float* bias, int64_t rows, int64_t out, Activation act) {
  const Launch how{"bias_act", matrix_grid(rows, out), kMatrixThreads};
  switch (act) {
    case Activation::none: return launch(stream, how, bias_act_kernel<Activation::none>, y, bias, out);
    case Activation::relu: return launch(stream, how, bias_act_kernel<Activation::relu>, y, bias, out);
    case Activation::gelu: return launch(stream, how, bias_act_kernel<Activation::gelu>, y, bias, out);
  }
}

cudaDataType type_of(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

}  // namespace

PackedMatrix CudaBackend::pack_linear(const Tensor& weight) {
  PackedMatrix packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  const DType type = feature_type();
  if (type == DType::f32) {
    packed.panels = weight.to(runtime_.device());
    return packed;
  }
  const int64_t width = divide_up(packed.in, kPadding) * kPadding;
  Tensor padded({packed.out, width});
  const float* from = weight.address<float>();
  float* to = padded.address<float>();
  parallel_for(packed.out, 64, [&](int64_t first, int64_t last) {
    for (int64_t o = first; o < last; ++o) {
      std::memcpy(to + o * width, from + o * packed.in, size_t(packed.in) * sizeof(float));
      std::memset(to + o * width + packed.in, 0, size_t(width - packed.in) * sizeof(float));
    }
  });
  packed.panels = padded.cast(type).to(runtime_.device());
  return packed;
}

void CudaBackend::dense(Tensor& y, const Tensor& x, const Tensor& panels, int64_t in, const Tensor& bias,
                        Activation act) {
  const int64_t rows = x.numel() / std::max<int64_t>(1, in), out = panels.shape[0], width = panels.shape[1];
  if (rows == 0 || out == 0) return;
  const Stream& stream = runtime_.stream();
  const DType type = panels.dtype;
  const Tensor values = type == DType::f32 ? x : narrowed(stream, x, rows, in, width, type);
  if (!stream.dry) {
    // Row-major y [rows, out] = x * panels^T is column-major y^T [out, rows] = panels * x^T.
    const float one = 1, none = 0;
    const cublasStatus_t status =
        cublasGemmEx(runtime_.blas(), CUBLAS_OP_T, CUBLAS_OP_N, int(out), int(rows), int(width), &one, panels.raw(),
                     type_of(type), int(width), values.raw(), type_of(type), int(width), &none, y.raw(), CUDA_R_32F,
                     int(out), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    SAT_CHECK(status == CUBLAS_STATUS_SUCCESS, "linear: cuBLAS says ", cublasGetStatusString(status));
  }
  if (!bias.empty() || act != Activation::none) {
    add_bias(stream, y.address<float>(), bias.address<float>(), rows, out, act);
  }
}

void CudaBackend::linear(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act) {
  dense(y, x, weight.panels, weight.in, bias, act);
}

void CudaBackend::product_transposed(Tensor& y, const Tensor& a, const Tensor& b) {
  dense(y, a, b, b.shape[1], Tensor(), Activation::none);
}

}  // namespace sat::cuda
