// Attention in its plain form: f32, the weights of a query in shared memory. The reference of the fused one.
#include <cmath>

#include "sat/cuda/attention/attention.h"
#include "sat/cuda/device/dropout.cuh"
#include "sat/cuda/device/warp.cuh"

namespace sat::cuda {

namespace {

constexpr int kWarps = 4;  // queries a block
constexpr int kThreads = 32 * kWarps;
constexpr int kKeys = 32;  // that are held at once

/// y [N, C] = softmax(q k^T / sqrt(width) + bias) v for each head's `width` channels of each segment; k, v [T, C].
/// A block takes 4 queries of one head of one segment, a warp one of them. First the keys pass by in tiles of 32, a
/// lane each, in rows of an odd length so that lanes read them side by side; their weights stay in shared memory. Then
/// softmax over all, the largest first, and last the values, a lane 32 channels apart: 128 contiguous bytes a warp. All
/// sums run over channels or keys in order, so that a query's bits do not depend on the other queries. Traffic: keys
/// and values once a block, which is once every 4 queries (mostly from the L2 cache), q, bias and y once.
__global__ void __launch_bounds__(kThreads) attention_plain_kernel(const Attention all, int width, float scale) {
  extern __shared__ float shared[];
  const int64_t queries = all.queries, tokens = all.tokens, channels = all.channels;
  const int64_t blocks = (queries + kWarps - 1) / kWarps, segment = int64_t(blockIdx.x) / blocks;
  const int pitch = width | 1;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* key = shared;                                                   // [kKeys][pitch]
  float* query = key + kKeys * pitch + warp * width;                     // [kWarps][width]
  float* weight = key + kKeys * pitch + kWarps * width + warp * tokens;  // [kWarps][tokens]

  const int64_t head = blockIdx.y, n = int64_t(blockIdx.x) % blocks * kWarps + warp;
  const bool there = n < queries;
  const int64_t first_query = segment * queries * channels + head * width;
  const float* k = all.k + segment * tokens * channels + head * width;
  const float* v = all.v + segment * tokens * channels + head * width;
  const float* bias = all.bias ? all.bias + segment * all.bias_pitch + (head * queries + n) * tokens : nullptr;
  const uint8_t* regions = all.regions ? all.regions + segment * queries : nullptr;
  if (there) {
    for (int c = lane; c < width; c += 32) query[c] = all.q[first_query + n * channels + c];
  }

  for (int64_t first = 0; first < tokens; first += kKeys) {
    __syncthreads();
    for (int row = warp; row < kKeys && first + row < tokens; row += kWarps) {
      for (int c = lane; c < width; c += 32) key[row * pitch + c] = k[(first + row) * channels + c];
    }
    __syncthreads();
    if (!there || first + lane >= tokens) continue;
    float dot = 0;
    for (int c = 0; c < width; ++c) dot = fmaf(query[c], key[lane * pitch + c], dot);
    float product = dot * scale + (bias ? bias[first + lane] : 0.f);
    if (regions && regions[n] != regions[first + lane]) product += kOtherRegion;
    weight[first + lane] = product;
  }
  if (!there) return;
  __syncwarp();

  float largest = -INFINITY;
  for (int64_t t = lane; t < tokens; t += 32) largest = fmaxf(largest, weight[t]);
  largest = warp_max(largest);
  float total = 0;
  for (int64_t t = lane; t < tokens; t += 32) total += weight[t] = expf(weight[t] - largest);
  total = warp_sum(total);
  if (all.dropped.rate > 0) {
    const int64_t place = all.place + ((segment * all.heads + head) * queries + n) * tokens;
    for (int64_t t = lane; t < tokens; t += 32) weight[t] *= kept_share(all.dropped, place + t);
  }
  __syncwarp();
  for (int c = lane; c < width; c += 32) {
    float sum = 0;
    for (int64_t t = 0; t < tokens; ++t) sum = fmaf(weight[t], v[t * channels + c], sum);
    all.y[first_query + n * channels + c] = sum / total;
  }
}

int64_t shared_bytes(const Attention& sizes) {
  const int64_t width = sizes.channels / sizes.heads;
  return (kKeys * (width | 1) + kWarps * (width + sizes.tokens)) * int64_t(sizeof(float));
}

}  // namespace

std::string attention_plain_refusal(const Attention& sizes, const DeviceLimits& limits) {
  const int64_t bytes = shared_bytes(sizes);
  if (bytes <= limits.shared_bytes) return "";
  return std::to_string(sizes.tokens) + " keys need " + std::to_string(bytes) +
         " bytes of shared memory a block, this device has " + std::to_string(limits.shared_bytes);
}

void attention_plain(const Stream& stream, const Attention& sizes) {
  const int64_t width = sizes.channels / sizes.heads;
  const Launch how{"attention_plain",
                   {unsigned(sizes.segments * divide_up(sizes.queries, kWarps)), unsigned(sizes.heads), 1},
                   kThreads,
                   shared_bytes(sizes)};
  launch(stream, how, attention_plain_kernel, sizes, int(width), 1.f / std::sqrt(float(width)));
}

}  // namespace sat::cuda
