// Sums of pieces: the second stage of every sum over voxels or rows.
#include "sat/cuda/gradient/piece_sums.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr unsigned kMostParts = 32;  // threads of one sum

/// One block blockDim.x sums of blockDim.y threads each: thread p adds parts p, p + blockDim.y, ... in order, and the
/// threads' sums are added in order. Neighbours read neighbours. Traffic: 1 read of the parts.
template <class Part, class Sum>
__global__ void __launch_bounds__(kThreads) add_pieces_kernel(Sum* to, const Part* parts, const PieceSums sums) {
  __shared__ double shared[kThreads];
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const bool there = at < sums.rows * sums.columns;
  double sum = 0;
  for (int64_t i = threadIdx.y; there && i < sums.pieces; i += blockDim.y) sum += double(parts[i * sums.pitch + at]);
  shared[threadIdx.y * blockDim.x + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || !there) return;
  for (unsigned p = 1; p < blockDim.y; ++p) sum += shared[p * blockDim.x + threadIdx.x];
  to[at / sums.columns * sums.to_pitch + at % sums.columns] = Sum(sum);
}

template <class Part, class Sum>
void add_all(const Stream& stream, Sum* to, const Part* parts, const PieceSums& sums) {
  unsigned threads = 1;
  while (threads < kMostParts && 2 * threads <= sums.pieces) threads *= 2;
  const dim3 block(kThreads / threads, threads);
  launch(stream, {"add_pieces", unsigned(divide_up(sums.rows * sums.columns, block.x)), block},
         add_pieces_kernel<Part, Sum>, to, parts, sums);
}

}  // namespace

void add_pieces(const Stream& stream, float* to, const float* parts, const PieceSums& sums) {
  add_all(stream, to, parts, sums);
}
void add_pieces(const Stream& stream, float* to, const double* parts, const PieceSums& sums) {
  add_all(stream, to, parts, sums);
}
void add_pieces(const Stream& stream, double* to, const double* parts, const PieceSums& sums) {
  add_all(stream, to, parts, sums);
}

}  // namespace sat::cuda
