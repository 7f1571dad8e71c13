// Gradients of rows and of what is done element by element: transposes, sums, lookups, activations, dropout.
#include <numeric>

#include "sat/cuda/backend.h"
#include "sat/cuda/device/dropout.cuh"
#include "sat/cuda/gradient/column_sums.cuh"
#include "sat/cuda/matrix/matrix_grid.cuh"

namespace sat::cuda {

namespace {

constexpr int kSquare = 32, kSquareRows = 8;  // a block of transpose_kernel: its tile, and its threads along it

/// y [N, C, R] of x [N, R, C]. A block takes 32 x 32 elements through shared memory, so that a warp reads and writes
/// 128 contiguous bytes. Traffic: 1 read, 1 write.
__global__ void __launch_bounds__(kSquare* kSquareRows)
    transpose_kernel(float* y, const float* x, int64_t rows, int64_t columns) {
  __shared__ float tile[kSquare][kSquare + 1];
  const int64_t across = (columns + kSquare - 1) / kSquare, down = (rows + kSquare - 1) / kSquare;
  const int64_t column0 = blockIdx.x % across * kSquare, row0 = blockIdx.x / across % down * kSquare;
  const int64_t matrix = blockIdx.x / across / down * rows * columns;
  for (int i = int(threadIdx.y); i < kSquare; i += kSquareRows) {
    const int64_t row = row0 + i, column = column0 + threadIdx.x;
    if (row < rows && column < columns) tile[i][threadIdx.x] = x[matrix + row * columns + column];
  }
  __syncthreads();
  for (int i = int(threadIdx.y); i < kSquare; i += kSquareRows) {
    const int64_t row = row0 + threadIdx.x, column = column0 + i;
    if (row < rows && column < columns) y[matrix + column * rows + row] = tile[threadIdx.x][i];
  }
}

struct RowTerms {
  const float* x;
  int64_t columns;
  __device__ void operator()(float (&to)[1], int64_t row, int64_t column) const { to[0] = x[row * columns + column]; }
};

Launch one_thread_each(const char* name, int64_t elements) {
  return {name, unsigned(divide_up(elements, kMatrixThreads)), kMatrixThreads};
}

__device__ int64_t element() { return int64_t(blockIdx.x) * kMatrixThreads + threadIdx.x; }

/// y [count] = a * b[i % period]. Traffic: 1 read of a, 1 write, and b once a period, from the caches where it is
/// short.
__global__ void __launch_bounds__(kMatrixThreads)
    multiply_kernel(float* y, const float* a, const float* b, int64_t count, int64_t period) {
  const int64_t i = element();
  if (i < count) y[i] = a[i] * b[period == count ? i : i % period];
}

/// act'(x); of GELU Phi(x) + x phi(x).
template <Activation kAct>
__device__ float slope_of(float x) {
  if constexpr (kAct == Activation::relu) return x > 0 ? 1.f : 0.f;
  if constexpr (kAct == Activation::gelu) {
    return 0.5f * erfcf(x * -0.70710678118654752f) + x * expf(-0.5f * x * x) * 0.39894228040143268f;
  }
  return 1;
}

/// dx [count] = dy * act'(x); dx may be dy. Traffic: 2 reads, 1 write.
template <Activation kAct>
__global__ void __launch_bounds__(kMatrixThreads)
    activation_gradient_kernel(float* dx, const float* dy, const float* x, int64_t count) {
  const int64_t i = element();
  if (i < count) dx[i] = dy[i] * slope_of<kAct>(x[i]);
}

/// The same of leaky ReLU, from its result.
__global__ void __launch_bounds__(kMatrixThreads)
    leaky_relu_gradient_kernel(float* dx, const float* dy, const float* y, float slope, int64_t count) {
  const int64_t i = element();
  if (i < count) dx[i] = y[i] < 0 ? slope * dy[i] : dy[i];
}

/// y [count] = x, or 0 where it is dropped. Traffic: 1 read, 1 write.
__global__ void __launch_bounds__(kMatrixThreads)
    dropout_kernel(float* y, const float* x, const Dropout dropped, int64_t count) {
  const int64_t i = element();
  if (i < count) y[i] = x[i] * kept_share(dropped, i);
}

/// table[id] += the rows [first[i], first[i + 1]) of `order`, one by one: one thread an id that occurs and a channel.
/// Traffic: 1 read of the rows, 1 read and write of the table's rows that occur.
__global__ void __launch_bounds__(kMatrixThreads)
    scatter_rows_kernel(float* table, const float* rows, const int64_t* ids, const int64_t* first, const int64_t* order,
                        int64_t count, int64_t channels) {
  const auto [i, c, there] = element_of(count, channels);
  if (!there) return;
  float sum = table[ids[i] * channels + c];
  for (int64_t at = first[i]; at < first[i + 1]; ++at) sum += rows[order[at] * channels + c];
  table[ids[i] * channels + c] = sum;
}

/// dx [rows, channels] = share[row] * dy[run[row]], zeros where the run is -1. Traffic: 1 read of dy, 1 write.
__global__ void __launch_bounds__(kMatrixThreads)
    spread_rows_kernel(float* dx, const float* dy, const int64_t* run, const float* share, int64_t rows,
                       int64_t channels) {
  const auto [row, c, there] = element_of(rows, channels);
  if (!there) return;
  dx[row * channels + c] = run[row] < 0 ? 0.f : share[row] * dy[run[row] * channels + c];
}

}  // namespace

void CudaBackend::transpose(Tensor& y, const Tensor& x) {
  const int64_t rows = x.shape[1], columns = x.shape[2];
  const unsigned blocks = unsigned(x.shape[0] * divide_up(rows, kSquare) * divide_up(columns, kSquare));
  launch(runtime_.stream(), {"transpose", blocks, dim3(kSquare, kSquareRows)}, transpose_kernel, y.address<float>(),
         x.address<float>(), rows, columns);
}

void CudaBackend::sum_rows(Tensor& y, const Tensor& x) {
  const Stream& stream = runtime_.stream();
  const RowTerms terms{x.address<float>(), x.shape[1]};
  Tensor sums = doubles(y.shape, y.device);
  auto* own = static_cast<double*>(sums.raw());
  column_sums<1>(stream, "sum_rows", own, terms, x.shape[0], x.shape[1], y.device);
  add_pieces(stream, y.address<float>(), own, {1, y.numel(), y.numel()});
}

void CudaBackend::multiply(Tensor& y, const Tensor& a, const Tensor& b) {
  launch(runtime_.stream(), one_thread_each("multiply", a.numel()), multiply_kernel, y.address<float>(),
         a.address<float>(), b.address<float>(), a.numel(), b.numel());
}

void CudaBackend::activation_gradient(Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) {
  const auto run = [&](auto kernel) {
    launch(runtime_.stream(), one_thread_each("activation_gradient", x.numel()), kernel, dx.address<float>(),
           dy.address<float>(), x.address<float>(), x.numel());
  };
  switch (act) {
    case Activation::none: return run(activation_gradient_kernel<Activation::none>);
    case Activation::relu: return run(activation_gradient_kernel<Activation::relu>);
    case Activation::gelu: return run(activation_gradient_kernel<Activation::gelu>);
  }
}

void CudaBackend::leaky_relu_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, float slope) {
  launch(runtime_.stream(), one_thread_each("leaky_relu_gradient", y.numel()), leaky_relu_gradient_kernel,
         dx.address<float>(), dy.address<float>(), y.address<float>(), slope, y.numel());
}

void CudaBackend::dropout(Tensor& y, const Tensor& x, const Dropout& dropped) {
  launch(runtime_.stream(), one_thread_each("dropout", x.numel()), dropout_kernel, y.address<float>(),
         x.address<float>(), dropped, x.numel());
}

void CudaBackend::scatter_rows(Tensor& table, const Tensor& rows, const std::vector<int64_t>& ids) {
  std::vector<int64_t> order(ids.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return ids[size_t(a)] < ids[size_t(b)]; });
  std::vector<int64_t> occurring, first;
  for (size_t at = 0; at < order.size(); ++at) {
    const int64_t id = ids[size_t(order[at])];
    if (id < 0 || (!occurring.empty() && occurring.back() == id)) continue;
    occurring.push_back(id);
    first.push_back(int64_t(at));
  }
  first.push_back(int64_t(order.size()));
  const Tensor order_there = runtime_.uploaded(order), ids_there = runtime_.uploaded(occurring),
               first_there = runtime_.uploaded(first);
  const int64_t count = int64_t(occurring.size()), channels = table.shape[1];
  launch(runtime_.stream(), over_matrix("scatter_rows", count, channels), scatter_rows_kernel, table.address<float>(),
         rows.address<float>(), ids_there.address<int64_t>(), first_there.address<int64_t>(),
         order_there.address<int64_t>(), count, channels);
}

void CudaBackend::mean_of_rows_gradient(Tensor& dx, const Tensor& dy, const std::vector<int64_t>& first,
                                        const std::vector<uint8_t>& counted) {
  const int64_t rows = dx.shape[0], channels = dx.shape[1];
  std::vector<int64_t> run_of(size_t(rows), -1);
  std::vector<float> share(size_t(rows), 0.f);
  for (size_t run = 0; run + 1 < first.size(); ++run) {
    const auto begin = counted.begin() + first[run], end = counted.begin() + first[run + 1];
    const int64_t count = std::count_if(begin, end, [](uint8_t flag) { return flag != 0; });
    for (int64_t row = first[run]; row < first[run + 1]; ++row) {
      if (counted[size_t(row)] == 0) continue;
      run_of[size_t(row)] = int64_t(run);
      share[size_t(row)] = float(1 / double(count));
    }
  }
  const Tensor run_there = runtime_.uploaded(run_of), share_there = runtime_.uploaded(share);
  launch(runtime_.stream(), over_matrix("mean_of_rows_gradient", rows, channels), spread_rows_kernel,
         dx.address<float>(), dy.address<float>(), run_there.address<int64_t>(), share_there.address<float>(), rows,
         channels);
}

}  // namespace sat::cuda
