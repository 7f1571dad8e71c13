// The gradient of the table of relative positions, from that of the bias made of it.
#include "sat/cuda/backend.h"
#include "sat/cuda/gradient/piece_sums.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;

/// Texts whose biases [heads, T, T] lie one behind another.
struct Texts {
  const int64_t *first, *bias;  // [count + 1] where each text, and each bias, begins
  int64_t count, heads, longest;
};

/// sums [2 * longest - 1, heads] of dy over all texts and queries at one distance j - i = blockIdx.x - (longest - 1).
/// One block a distance and head: a thread every 256th query of a text, texts in order, in double, and the threads'
/// sums in order. Traffic: 1 read of dy.
__global__ void __launch_bounds__(kThreads) distance_sums_kernel(double* sums, const float* dy, const Texts texts) {
  __shared__ double shared[kThreads];
  const int64_t distance = int64_t(blockIdx.x) - (texts.longest - 1), head = blockIdx.y;
  double sum = 0;
  for (int64_t text = 0; text < texts.count; ++text) {
    const int64_t tokens = texts.first[text + 1] - texts.first[text];
    const float* from = dy + texts.bias[text] + head * tokens * tokens;
    for (int64_t i = threadIdx.x; i < tokens; i += kThreads) {
      if (i + distance >= 0 && i + distance < tokens) sum += double(from[i * tokens + i + distance]);
    }
  }
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < kThreads; ++i) sum += shared[i];
  sums[blockIdx.x * texts.heads + head] = sum;
}

/// dtable [rows, heads] = the sums of the distances in each row's bucket, in order. One thread an element.
__global__ void __launch_bounds__(kThreads)
    bucket_sums_kernel(float* dtable, const double* sums, const int64_t* buckets, int64_t count, int64_t heads,
                       int64_t distances) {
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= count) return;
  double sum = 0;
  for (int64_t i = 0; i < distances; ++i) {
    if (buckets[i] == at / heads) sum += sums[i * heads + at % heads];
  }
  dtable[at] = float(sum);
}

}  // namespace

void CudaBackend::attention_bias_gradient(Tensor& dtable, const Tensor& dy, const std::vector<int64_t>& buckets,
                                          const std::vector<int64_t>& first) {
  const Stream& stream = runtime_.stream();
  const int64_t heads = dtable.shape[1], distances = int64_t(buckets.size());
  std::vector<int64_t> bias{0};
  for (size_t text = 0; text + 1 < first.size(); ++text) {
    const int64_t tokens = first[text + 1] - first[text];
    bias.push_back(bias.back() + heads * tokens * tokens);
  }
  const Tensor rows = runtime_.uploaded(buckets), begins = runtime_.uploaded(first), places = runtime_.uploaded(bias);
  Tensor sums = doubles({distances, heads}, dy.device);
  auto* of_distances = static_cast<double*>(sums.raw());
  const Texts texts{begins.address<int64_t>(), places.address<int64_t>(), int64_t(first.size()) - 1, heads,
                    (distances + 1) / 2};
  launch(stream, {"distance_sums", dim3(unsigned(distances), unsigned(heads)), kThreads}, distance_sums_kernel,
         of_distances, dy.address<float>(), texts);
  launch(stream, {"bucket_sums", unsigned(divide_up(dtable.numel(), kThreads)), kThreads}, bucket_sums_kernel,
         dtable.address<float>(), of_distances, rows.address<int64_t>(), dtable.numel(), heads, distances);
}

}  // namespace sat::cuda
