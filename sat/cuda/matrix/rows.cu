// Rows of matrices: looked up, averaged, added.
#include "sat/cuda/backend.h"
#include "sat/cuda/matrix/matrix_grid.cuh"

namespace sat::cuda {

namespace {

/// y [rows, channels] = table[ids[row]]. Traffic: 1 read, 1 write of y.
__global__ void __launch_bounds__(kMatrixThreads)
    gather_rows_kernel(float* y, const float* table, const int64_t* ids, int64_t channels) {
  const auto [row, column] = element_of(channels);
  if (column >= channels) return;
  y[row * channels + column] = table[ids[row] * channels + column];
}

/// y [runs, channels] = means over the rows [first[run], first[run + 1]) of x whose flag is set; 0 where none is.
/// One thread a run and channel, which takes the rows in order, in double: neighbours read neighbours.
/// Traffic: 1 read of x and of the flags (from the L1 cache but for one thread of a block).
__global__ void __launch_bounds__(kMatrixThreads)
    mean_of_rows_kernel(float* y, const float* x, const int64_t* first, const uint8_t* counted, int64_t channels) {
  const auto [run, column] = element_of(channels);
  if (column >= channels) return;
  double sum = 0;
  int64_t count = 0;
  for (int64_t row = first[run]; row < first[run + 1]; ++row) {
    if (!counted[row]) continue;
    sum += double(x[row * channels + column]);
    ++count;
  }
  y[run * channels + column] = float(sum / fmax(1e-9, double(count)));
}

/// z [count] = x + y[i % period]. Traffic: 1 read, 1 write, and y once a period, from the caches where it is short.
__global__ void __launch_bounds__(kMatrixThreads)
    add_kernel(float* z, const float* x, const float* y, int64_t count, int64_t period) {
  const int64_t i = int64_t(blockIdx.x) * kMatrixThreads + threadIdx.x;
  if (i < count) z[i] = x[i] + y[period == count ? i : i % period];
}

}  // namespace

void CudaBackend::gather_rows(Tensor& y, const Tensor& table, const std::vector<int64_t>& ids) {
  const Tensor there = runtime_.uploaded(ids);
  const int64_t channels = table.shape[1];
  launch(runtime_.stream(), {"gather_rows", matrix_grid(y.shape[0], channels), kMatrixThreads}, gather_rows_kernel,
         y.address<float>(), table.address<float>(), there.address<int64_t>(), channels);
}

void CudaBackend::mean_of_rows(Tensor& y, const Tensor& x, const std::vector<int64_t>& first,
                               const std::vector<uint8_t>& counted) {
  const Tensor begins = runtime_.uploaded(first), flags = runtime_.uploaded(counted);
  const int64_t channels = x.shape[1];
  launch(runtime_.stream(), {"mean_of_rows", matrix_grid(y.shape[0], channels), kMatrixThreads}, mean_of_rows_kernel,
         y.address<float>(), x.address<float>(), begins.address<int64_t>(), flags.address<uint8_t>(), channels);
}

void CudaBackend::add(Tensor& y, const Tensor& a, const Tensor& b) {
  launch(runtime_.stream(), {"add", unsigned(divide_up(a.numel(), kMatrixThreads)), kMatrixThreads}, add_kernel,
         y.address<float>(), a.address<float>(), b.address<float>(), a.numel(), b.numel());
}

}  // namespace sat::cuda
