// What surrounds dense layers: rounding to half types, bias and activation, table rows, sums, layer norm.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "sat/cuda/device/warp.cuh"
#include "sat/cuda/kernels.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Where a matrix is walked element by element, a block takes a run of kThreads columns of one row. So no thread
// divides, neighbours read neighbours, and the grid's x axis (2^31 blocks) holds any matrix.
unsigned matrix_grid(int64_t rows, int64_t columns) { return unsigned(rows * divide_up(columns, kThreads)); }

struct Element {
  int64_t row, column;
};
__device__ Element element_of(int64_t columns) {
  const unsigned runs = unsigned((columns + kThreads - 1) / kThreads);
  return {int64_t(blockIdx.x / runs), int64_t(blockIdx.x % runs) * kThreads + threadIdx.x};
}

__device__ void store(__half* to, float value) { *to = __float2half_rn(value); }
__device__ void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// to [rows, padded_columns] = from [rows, columns] rounded to nearest, zeros behind it. Traffic: 1 read, 1 write.
template <class T>
__global__ void __launch_bounds__(kThreads)
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
__global__ void __launch_bounds__(kThreads) bias_act_kernel(float* y, const float* bias, int64_t out) {
  const auto [row, column] = element_of(out);
  if (column >= out) return;
  float* at = y + row * out + column;
  *at = activated<kAct>(bias ? *at + bias[column] : *at);
}

/// y [rows, channels] = table[ids[row]]. Traffic: 1 read, 1 write of y.
__global__ void __launch_bounds__(kThreads)
    gather_rows_kernel(float* y, const float* table, const int64_t* ids, int64_t channels) {
  const auto [row, column] = element_of(channels);
  if (column >= channels) return;
  y[row * channels + column] = table[ids[row] * channels + column];
}

/// z [count] = x + y[i % period]. Traffic: 1 read, 1 write, and y once a period, from the caches where it is short.
__global__ void __launch_bounds__(kThreads)
    add_kernel(float* z, const float* x, const float* y, int64_t count, int64_t period) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) z[i] = x[i] + y[period == count ? i : i % period];
}

/// y [rows, channels] = (x - mean) / sqrt(var + eps) * gain + bias, mean and biased variance of each row.
/// One warp a row, lanes 32 channels apart, so a warp reads 128 contiguous bytes; sums a lane, then a tree over lanes:
/// a row's bits depend on nothing else. Two passes, the mean first. Traffic: 1 read of x (the second and third come
/// from the first-level cache), 1 write. y may be x.
__global__ void __launch_bounds__(kThreads)
    layer_norm_kernel(float* y, const float* x, const float* gain, const float* bias, int64_t rows, int64_t channels,
                      float eps) {
  const int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  x += row * channels;
  y += row * channels;

  float sum = 0;
  for (int64_t c = lane; c < channels; c += 32) sum += x[c];
  const float mean = warp_sum(sum) / float(channels);
  float squares = 0;
  for (int64_t c = lane; c < channels; c += 32) squares += (x[c] - mean) * (x[c] - mean);
  const float deviation = sqrtf(warp_sum(squares) / float(channels) + eps);
  for (int64_t c = lane; c < channels; c += 32) y[c] = (x[c] - mean) / deviation * gain[c] + bias[c];
}

}  // namespace

void narrow(const Queue& queue, void* to, DType dtype, const float* from, int64_t rows, int64_t columns,
            int64_t padded_columns) {
  const Launch how{"narrow", matrix_grid(rows, padded_columns), kThreads};
  switch (dtype) {
    case DType::f16:
      return launch(queue, how, narrow_kernel<__half>, static_cast<__half*>(to), from, columns, padded_columns);
    case DType::bf16:
      return launch(queue, how, narrow_kernel<__nv_bfloat16>, static_cast<__nv_bfloat16*>(to), from, columns,
                    padded_columns);
    default: fail("narrow: ", name_of(dtype), " is not a half type");
  }
}

void bias_act(const Queue& queue, float* y, const float* bias, int64_t rows, int64_t out, Activation act) {
  const Launch how{"bias_act", matrix_grid(rows, out), kThreads};
  switch (act) {
    case Activation::none: return launch(queue, how, bias_act_kernel<Activation::none>, y, bias, out);
    case Activation::relu: return launch(queue, how, bias_act_kernel<Activation::relu>, y, bias, out);
    case Activation::gelu: return launch(queue, how, bias_act_kernel<Activation::gelu>, y, bias, out);
  }
}

void gather_rows(const Queue& queue, float* y, const float* table, const int64_t* ids, int64_t rows, int64_t channels) {
  launch(queue, {"gather_rows", matrix_grid(rows, channels), kThreads}, gather_rows_kernel, y, table, ids, channels);
}

void add(const Queue& queue, float* z, const float* x, const float* y, int64_t count, int64_t period) {
  launch(queue, {"add", unsigned(divide_up(count, kThreads)), kThreads}, add_kernel, z, x, y, count, period);
}

void layer_norm(const Queue& queue, float* y, const float* x, const float* gain, const float* bias, int64_t rows,
                int64_t channels, float eps) {
  launch(queue, {"layer_norm", unsigned(divide_up(rows, kWarps)), kThreads}, layer_norm_kernel, y, x, gain, bias, rows,
         channels, eps);
}

}  // namespace sat::cuda
