// Rows of matrices: looked up, averaged, added.
#include "sat/cuda/backend.h"
#include "sat/cuda/matrix/matrix_grid.cuh"

namespace sat::cuda {

namespace {

/// y [rows, columns] = table[ids[row]], zeros where the id is -1; an element T is one channel or four.
/// Traffic: 1 read, 1 write of y.
template <class T>
__global__ void __launch_bounds__(kMatrixThreads)
    gather_rows_kernel(T* y, const T* table, const int64_t* ids, int64_t rows, int64_t columns) {
  const auto [row, column, there] = element_of(rows, columns);
  if (!there) return;
  const int64_t id = ids[row];
  y[row * columns + column] = id < 0 ? T{} : table[id * columns + column];
}

template <class T>
void gather(const Stream& stream, float* y, const float* table, const int64_t* ids, int64_t rows, int64_t channels) {
  const int64_t columns = channels / int64_t(sizeof(T) / sizeof(float));
  launch(stream, over_matrix("gather_rows", rows, columns), gather_rows_kernel<T>, reinterpret_cast<T*>(y),
         reinterpret_cast<const T*>(table), ids, rows, columns);
}

/// y [runs, channels] = means over the rows [first[run], first[run + 1]) of x whose flag is set; 0 where none is.
/// One thread a run and channel, which takes the rows in order, in double: neighbours read neighbours.
/// Traffic: 1 read of x and of the flags (from the L1 cache but for one thread of a block).
__global__ void __launch_bounds__(kMatrixThreads)
    mean_of_rows_kernel(float* y, const float* x, const int64_t* first, const uint8_t* counted, int64_t runs,
                        int64_t channels) {
  const auto [run, column, there] = element_of(runs, channels);
  if (!there) return;
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
  const Stream& stream = runtime_.stream();
  const int64_t rows = y.shape[0], channels = table.shape[1];
  float* to = y.address<float>();
  const float* from = table.address<float>();
  if (channels % 4 == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
    return gather<float4>(stream, to, from, there.address<int64_t>(), rows, channels);
  }
  gather<float>(stream, to, from, there.address<int64_t>(), rows, channels);
}

void CudaBackend::mean_of_rows(Tensor& y, const Tensor& x, const std::vector<int64_t>& first,
                               const std::vector<uint8_t>& counted) {
  const Tensor begins = runtime_.uploaded(first), flags = runtime_.uploaded(counted);
  const int64_t runs = y.shape[0], channels = x.shape[1];
  launch(runtime_.stream(), over_matrix("mean_of_rows", runs, channels), mean_of_rows_kernel, y.address<float>(),
         x.address<float>(), begins.address<int64_t>(), flags.address<uint8_t>(), runs, channels);
}

void CudaBackend::add(Tensor& y, const Tensor& a, const Tensor& b) {
  launch(runtime_.stream(), {"add", unsigned(divide_up(a.numel(), kMatrixThreads)), kMatrixThreads}, add_kernel,
         y.address<float>(), a.address<float>(), b.address<float>(), a.numel(), b.numel());
}

}  // namespace sat::cuda
