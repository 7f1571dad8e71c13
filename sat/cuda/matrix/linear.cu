// Dense layers: cuBLAS's product, the rounding of its operands before it, and one pass behind it that takes bias,
// activation, scale and residual together.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

#include "sat/cuda/backend.h"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/matrix/matrix_grid.cuh"
#include "sat/cuda/matrix/narrow.h"

namespace sat::cuda {

namespace {

__device__ void store(__half* to, float value) { *to = __float2half_rn(value); }
__device__ void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// to [rows, padded_columns] = from [rows, columns] rounded to nearest, zeros behind it. Traffic: 1 read, 1 write.
template <class T>
__global__ void __launch_bounds__(kMatrixThreads)
    narrow_kernel(T* to, const float* from, int64_t rows, int64_t columns, int64_t padded_columns) {
  const auto [row, column, there] = element_of(rows, padded_columns);
  if (!there) return;
  store(to + row * padded_columns + column, column < columns ? from[row * columns + column] : 0.f);
}

template <Activation kAct>
__device__ float activated(float x) {
  if constexpr (kAct == Activation::relu) return fmaxf(x, 0.f);
  if constexpr (kAct == Activation::gelu) return 0.5f * x * (1.f + erff(x * 0.70710678118654752f));
  return x;
}

/// What follows a product: y [rows, out] = act(sums + bias), or residual + scale * (sums + bias). Null: no bias, no
/// residual, no scale. y may lie over sums or over residual.
struct Finish {
  float* y;
  const float *sums, *bias, *residual, *scale;
  int64_t rows, out;
};

/// One thread kRun neighbours of a row (4 where they lie at multiples of 16 bytes); GELU is the exact form, x * Phi(x).
/// Traffic: 1 read of sums and of the residual, 1 write of y; bias and scale come from the caches.
template <Activation kAct, int kRun>
__global__ void __launch_bounds__(kMatrixThreads) finish_kernel(const Finish finish) {
  const auto [row, run, there] = element_of(finish.rows, finish.out / kRun);
  if (!there) return;
  const int64_t column = run * kRun, at = row * finish.out + column;
  float values[kRun], others[kRun];
  load_run<float>(values, finish.sums + at);
  if (finish.bias) {
    load_run<float>(others, finish.bias + column);
#pragma unroll
    for (int i = 0; i < kRun; ++i) values[i] += others[i];
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) values[i] = activated<kAct>(values[i]);
  if (finish.residual) {
    if (finish.scale) {
      load_run<float>(others, finish.scale + column);
#pragma unroll
      for (int i = 0; i < kRun; ++i) values[i] *= others[i];
    }
    load_run<float>(others, finish.residual + at);
#pragma unroll
    for (int i = 0; i < kRun; ++i) values[i] += others[i];
  }
  store_run<float>(finish.y + at, values);
}

/// y [count] = gelu(x). One thread an element; y may be x. Traffic: 1 read, 1 write.
__global__ void __launch_bounds__(kMatrixThreads) gelu_kernel(float* y, const float* x, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * kMatrixThreads + threadIdx.x;
  if (i < count) y[i] = activated<Activation::gelu>(x[i]);
}

template <Activation kAct>
void launch_finish(const Stream& stream, const Finish& finish) {
  bool fours = finish.out % 4 == 0;
  for (const float* pointer : {finish.bias, finish.scale})
    fours = fours && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  for (const float* pointer : {static_cast<const float*>(finish.y), finish.sums, finish.residual}) {
    fours = fours && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  }
  const Launch how = over_matrix("finish", finish.rows, fours ? finish.out / 4 : finish.out);
  launch(stream, how, fours ? finish_kernel<kAct, 4> : finish_kernel<kAct, 1>, finish);
}

void run_finish(const Stream& stream, const Finish& finish, Activation act) {
  switch (act) {
    case Activation::none: return launch_finish<Activation::none>(stream, finish);
    case Activation::relu: return launch_finish<Activation::relu>(stream, finish);
    case Activation::gelu: return launch_finish<Activation::gelu>(stream, finish);
  }
}

}  // namespace

Tensor narrowed(const Stream& stream, const Tensor& x, int64_t rows, int64_t columns, int64_t width, DType dtype) {
  Tensor to({rows, width}, dtype, x.device);
  const Launch how = over_matrix("narrow", rows, width);
  if (dtype == DType::f16) {
    launch(stream, how, narrow_kernel<__half>, static_cast<__half*>(to.raw()), x.address<float>(), rows, columns,
           width);
  } else {
    launch(stream, how, narrow_kernel<__nv_bfloat16>, static_cast<__nv_bfloat16*>(to.raw()), x.address<float>(), rows,
           columns, width);
  }
  return to;
}

Tensor narrowed(const Stream& stream, const Tensor& x, DType dtype) {
  return narrowed(stream, x, x.shape[0], x.shape[1], divide_up(x.shape[1], kHalfPadding) * kHalfPadding, dtype);
}

cudaDataType_t blas_type(DType dtype) {
  return dtype == DType::f32 ? CUDA_R_32F : dtype == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

PackedMatrix CudaBackend::pack_linear(const Tensor& weight, const DenseSite&) {
  PackedMatrix packed;
  packed.out = weight.shape[0];
  packed.in = weight.shape[1];
  const DType type = feature_type();
  if (type == DType::f32) {
    packed.panels = weight.to(runtime_.device());
    return packed;
  }
  const int64_t width = divide_up(packed.in, kHalfPadding) * kHalfPadding;
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

void CudaBackend::product(Tensor& y, const Tensor& x, const Tensor& panels, int64_t in) {
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
                     blas_type(type), int(width), values.raw(), blas_type(type), int(width), &none, y.raw(), CUDA_R_32F,
                     int(out), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    SAT_CHECK(status == CUBLAS_STATUS_SUCCESS, "linear: cuBLAS says ", cublasGetStatusString(status));
  }
}

void CudaBackend::linear(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act) {
  product(y, x, weight.panels, weight.in);
  if (y.numel() == 0 || (bias.empty() && act == Activation::none)) return;
  float* to = y.address<float>();
  run_finish(runtime_.stream(), {to, to, bias.address<float>(), nullptr, nullptr, y.numel() / weight.out, weight.out},
             act);
}

void CudaBackend::linear_add(Tensor& y, const Tensor& residual, const Tensor& x, const PackedMatrix& weight,
                             const Tensor& bias, const Tensor& scale) {
  if (y.numel() == 0) return;
  Tensor sums = empty_like(y);  // y may lie over the residual
  product(sums, x, weight.panels, weight.in);
  run_finish(runtime_.stream(),
             {y.address<float>(), sums.address<float>(), bias.address<float>(), residual.address<float>(),
              scale.address<float>(), y.numel() / weight.out, weight.out},
             Activation::none);
}

void CudaBackend::gelu(Tensor& y, const Tensor& x) {
  launch(runtime_.stream(), {"gelu", unsigned(divide_up(x.numel(), kMatrixThreads)), kMatrixThreads}, gelu_kernel,
         y.address<float>(), x.address<float>(), x.numel());
}

void CudaBackend::product_transposed(Tensor& y, const Tensor& a, const Tensor& b) { product(y, a, b, b.shape[1]); }

}  // namespace sat::cuda
