// The bias of attention inside texts: relative positions and masks.
#include "sat/cuda/backend.h"
#include "sat/cuda/matrix/matrix_grid.cuh"

namespace sat::cuda {

namespace {

constexpr float kNever = -1e30f;

/// y [heads, T, T] of one text: y[head, i, j] = table[buckets[j - i + longest - 1], head] + (attended[j] ? 0 : kNever).
///   table [M, heads], or null for masks alone
/// One thread an element, neighbours along j. Traffic: 1 write; the table and its rows come from the L1 cache.
__global__ void __launch_bounds__(kMatrixThreads)
    attention_bias_kernel(float* y, const float* table, const int64_t* buckets, const uint8_t* attended, int64_t tokens,
                          int64_t heads, int64_t longest) {
  const auto [row, j, there] = element_of(heads * tokens, tokens);
  if (!there) return;
  const int64_t head = row / tokens, i = row % tokens;
  const float relative = table ? table[buckets[j - i + longest - 1] * heads + head] : 0.f;
  y[row * tokens + j] = relative + (attended[j] ? 0.f : kNever);
}

}  // namespace

void CudaBackend::attention_bias(Tensor& y, const Tensor& table, const std::vector<int64_t>& buckets,
                                 const std::vector<int64_t>& first, const std::vector<uint8_t>& attended) {
  const Tensor rows = runtime_.uploaded(buckets), flags = runtime_.uploaded(attended);
  const float* relative = buckets.empty() ? nullptr : table.address<float>();
  const int64_t heads = table.shape[1], longest = (int64_t(buckets.size()) + 1) / 2;
  const Stream& stream = runtime_.stream();
  float* to = y.address<float>();
  for (size_t text = 0; text + 1 < first.size(); ++text) {
    const int64_t tokens = first[text + 1] - first[text];
    launch(stream, over_matrix("attention_bias", heads * tokens, tokens), attention_bias_kernel, to, relative,
           rows.address<int64_t>(), flags.address<uint8_t>() + first[text], tokens, heads, longest);
    to += heads * tokens * tokens;
  }
}

}  // namespace sat::cuda
