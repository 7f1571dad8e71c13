// Losses on rows: cross-entropy of soft targets, and a learnt temperature.
#include "sat/cuda/backend.h"
#include "sat/cuda/gradient/piece_sums.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

/// The sum, or the largest, of all threads' values, the same bits for each: a tree over lanes, then warps in order.
template <bool kLargest>
__device__ double block_result(double value, double* shared) {
  const auto joined = [](double a, double b) { return kLargest ? fmax(a, b) : a + b; };
  for (int step = 16; step > 0; step /= 2) value = joined(value, __shfl_xor_sync(~0u, value, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < kWarps; ++warp) value = joined(value, shared[warp]);
  return value;
}

/// losses [R] = weight * -sum_k target_k ln softmax(logits)_k, and dlogits = weight * (softmax * sum of targets -
/// target) where it is not null. Excluded classes (not null: where not 0) stand outside of the softmax, and get 0.
/// One block a row, its terms in f32, its sums in double. Traffic: logits and targets once (then from the caches),
/// dlogits once.
__global__ void __launch_bounds__(kThreads)
    cross_entropy_kernel(double* losses, float* dlogits, const float* logits, const float* targets,
                         const float* weights, const uint8_t* excluded, int64_t classes) {
  __shared__ double shared[kWarps];
  const int64_t row = blockIdx.x, first = row * classes;
  const auto out = [&](int64_t k) { return excluded && excluded[first + k] != 0; };
  double largest = -INFINITY;
  for (int64_t k = threadIdx.x; k < classes; k += kThreads) {
    if (!out(k)) largest = fmax(largest, double(logits[first + k]));
  }
  const float highest = float(block_result<true>(largest, shared));
  double total = 0, wanted = 0;
  for (int64_t k = threadIdx.x; k < classes; k += kThreads) {
    if (out(k)) continue;
    total += double(expf(logits[first + k] - highest));
    wanted += double(targets[first + k]);
  }
  total = block_result<false>(total, shared);
  wanted = block_result<false>(wanted, shared);
  const double log_total = log(total);
  double loss = 0;
  for (int64_t k = threadIdx.x; k < classes; k += kThreads) {
    const bool skipped = out(k);
    const double off = skipped ? 0. : double(logits[first + k]) - double(highest);
    if (!skipped) loss += double(targets[first + k]) * (log_total - off);
    if (dlogits == nullptr) continue;
    const float share = float(wanted / total) * expf(float(off));
    dlogits[first + k] = skipped ? 0.f : weights[row] * (share - targets[first + k]);
  }
  loss = block_result<false>(loss, shared);
  if (threadIdx.x == 0) losses[row] = double(weights[row]) * loss;
}

/// y [count] = e^t x. Traffic: 1 read, 1 write.
__global__ void __launch_bounds__(kThreads)
    scale_by_exp_kernel(float* y, const float* x, const float* t, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) y[i] = x[i] * expf(*t);
}

}  // namespace

void CudaBackend::cross_entropy(Tensor& loss, Tensor& dlogits, const Tensor& logits, const Tensor& targets,
                                const Tensor& weights, const Tensor& excluded) {
  const Stream& stream = runtime_.stream();
  const int64_t rows = logits.shape[0];
  Tensor losses = doubles({rows}, logits.device);
  auto* of_rows = static_cast<double*>(losses.raw());
  launch(stream, {"cross_entropy", unsigned(rows), kThreads}, cross_entropy_kernel, of_rows, dlogits.address<float>(),
         logits.address<float>(), targets.address<float>(), weights.address<float>(),
         excluded.empty() ? nullptr : excluded.address<uint8_t>(), logits.shape[1]);
  add_pieces(stream, loss.address<float>(), of_rows, {rows, 1, 1});
}

void CudaBackend::scale_by_exp(Tensor& y, const Tensor& x, const Tensor& t) {
  launch(runtime_.stream(), {"scale_by_exp", unsigned(divide_up(x.numel(), kThreads)), kThreads}, scale_by_exp_kernel,
         y.address<float>(), x.address<float>(), t.address<float>(), x.numel());
}

}  // namespace sat::cuda
