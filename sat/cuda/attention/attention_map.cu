// The weights of attention by themselves: products of queries and keys, then the softmax of each row in place.
#include <cmath>

#include "sat/cuda/backend.h"
#include "sat/cuda/device/warp.cuh"

namespace sat::cuda {

namespace {

constexpr int kTile = 32, kRows = 8;  // queries and keys of a block; threads along the queries
constexpr int kThreads = 256;

/// weights [heads, N, T] = scale * q_h k_h^T; q [N, C], k [T, C].
/// A block takes 32 queries and 32 keys of one head; 32 channels of both pass through shared memory at a time, in rows
/// of 33 so that lanes, a key each, read different banks. A thread sums 4 queries' products in order, in f32. Traffic:
/// q once a tile of keys and k once a tile of queries (from the L2 cache), weights once.
__global__ void __launch_bounds__(kTile* kRows)
    products_kernel(float* weights, const float* q, const float* k, int64_t queries, int64_t tokens, int64_t channels,
                    int width, float scale) {
  __shared__ float query[kTile][kTile + 1], key[kTile][kTile + 1];
  const int x = int(threadIdx.x), y = int(threadIdx.y);
  const int64_t blocks = (tokens + kTile - 1) / kTile, head = blockIdx.y;
  const int64_t n0 = int64_t(blockIdx.x) / blocks * kTile, t0 = int64_t(blockIdx.x) % blocks * kTile;
  float sums[kTile / kRows] = {};
  for (int c0 = 0; c0 < width; c0 += kTile) {
    const int64_t c = head * width + c0 + x;
    __syncthreads();
    for (int row = y; row < kTile; row += kRows) {
      query[row][x] = n0 + row < queries && c0 + x < width ? q[(n0 + row) * channels + c] : 0.f;
      key[row][x] = t0 + row < tokens && c0 + x < width ? k[(t0 + row) * channels + c] : 0.f;
    }
    __syncthreads();
    for (int i = 0; i < kTile; ++i) {
      const float right = key[x][i];
#pragma unroll
      for (int r = 0; r < kTile / kRows; ++r) sums[r] = fmaf(query[y + r * kRows][i], right, sums[r]);
    }
  }
#pragma unroll
  for (int r = 0; r < kTile / kRows; ++r) {
    const int64_t n = n0 + y + r * kRows;
    if (n < queries && t0 + x < tokens) weights[(head * queries + n) * tokens + t0 + x] = sums[r] * scale;
  }
}

/// Each row of x [rows, columns] = its softmax. One warp a row, lanes 32 columns apart. Traffic: 1 read (the others
/// come from the L1 cache), 2 writes.
__global__ void __launch_bounds__(kThreads) softmax_kernel(float* x, int64_t rows, int64_t columns) {
  const int64_t row = int64_t(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = int(threadIdx.x) % 32;
  x += row * columns;
  float largest = -INFINITY;
  for (int64_t t = lane; t < columns; t += 32) largest = fmaxf(largest, x[t]);
  largest = warp_max(largest);
  float total = 0;
  for (int64_t t = lane; t < columns; t += 32) total += x[t] = expf(x[t] - largest);
  total = warp_sum(total);
  for (int64_t t = lane; t < columns; t += 32) x[t] /= total;
}

}  // namespace

void CudaBackend::attention_map(Tensor& y, const Tensor& q, const Tensor& k, int64_t heads) {
  const int64_t queries = q.shape[0], tokens = k.shape[0], channels = q.shape[1], width = channels / heads;
  const Stream& stream = runtime_.stream();
  const dim3 grid(unsigned(divide_up(queries, kTile) * divide_up(tokens, kTile)), unsigned(heads));
  launch(stream, {"attention_map", grid, dim3(kTile, kRows)}, products_kernel, y.address<float>(), q.address<float>(),
         k.address<float>(), queries, tokens, channels, int(width), 1.f / std::sqrt(float(width)));
  launch(stream, {"softmax", unsigned(divide_up(heads * queries, kThreads / 32)), kThreads}, softmax_kernel,
         y.address<float>(), heads * queries, tokens);
}

}  // namespace sat::cuda
