// Attention in f32 by tiles of 64 queries and 64 keys, with a streaming softmax.
#include <cmath>

#include "sat/cuda/attention/attention.h"
#include "sat/cuda/device/token_mma.cuh"

namespace sat::cuda {

namespace {

constexpr int kTile = 64;              // queries of a block, and keys that are held at once
constexpr int kAcross = 16;            // threads along the keys, and along the channels of results
constexpr int kRun = kTile / kAcross;  // queries and keys of a thread
constexpr int kThreads = kAcross * kAcross;
constexpr int kWidest = 128;
constexpr int kPitch = kTile + 4;  // of a row of weights

/// Rows of queries and keys: lanes read 16 bytes of eight rows at once from 32 different banks.
constexpr int pitch_of(int width) { return width + 4; }

constexpr int64_t shared_bytes(int width) {
  return (2 * kTile * pitch_of(width) + kTile * width + kTile * kPitch) * int64_t(sizeof(float));
}

/// to [kTile][pitch] = rows of `width` channels, zeros behind the last row and up to kWidth channels.
template <int kWidth>
__device__ void load_tile(float* to, int pitch, const float* from, int64_t channels, int64_t count, int width) {
  for (int i = int(threadIdx.x); i < kTile * kWidth; i += kThreads) {
    const int row = i / kWidth, c = i % kWidth;
    to[row * pitch + c] = row < count && c < width ? from[row * channels + c] : 0.f;
  }
}

/// The largest or the sum of a row's values, which 16 neighbouring lanes hold.
__device__ float row_max(float value) {
  for (int step = kAcross / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
  return value;
}
__device__ float row_sum(float value) {
  for (int step = kAcross / 2; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

/// y [N, C] = softmax(q k^T * scale + bias) v for each head's channels of each segment, as Attention says; all in f32.
/// A block takes 64 queries of one head of one segment, thread (x, y) queries 4 y to 4 y + 3. Keys and values pass by
/// in tiles of 64 rows. A thread sums the products of its queries with keys x, x + 16, ... (64 fma against eight reads
/// of 16 bytes), adds bias and regions, and 16 lanes find a row's largest; sums and results so far are scaled down
/// where a larger one comes. Weights go through shared memory to the same 16 lanes, which now take channels 2 x, 2 x +
/// 1, 2 x + 32, ... of the values. Keys behind the last weigh nothing. Tiles are taken in order, so a query's bits do
/// not depend on the other queries. Work: 4 * N * T * width flop. Traffic: q, bias and y once; k and v once a block,
/// which is once every 64 queries (from the L2 cache but for the first).
template <int kWidth>
__global__ void __launch_bounds__(kThreads) attention_tiled_kernel(const Attention all, int width, float scale) {
  extern __shared__ __align__(16) float shared[];
  constexpr int kPairs = kWidth / (2 * kAcross);
  float* query = shared;                          // [kTile][pitch_of(kWidth)]
  float* key = query + kTile * pitch_of(kWidth);  // [kTile][pitch_of(kWidth)]
  float* value = key + kTile * pitch_of(kWidth);  // [kTile][kWidth]
  float* weight = value + kTile * kWidth;         // [kTile][kPitch]
  const int x = int(threadIdx.x) % kAcross, row0 = int(threadIdx.x) / kAcross * kRun;
  const int64_t queries = all.queries, tokens = all.tokens, channels = all.channels, head = blockIdx.y;
  const int64_t blocks = (queries + kTile - 1) / kTile, segment = int64_t(blockIdx.x) / blocks;
  const int64_t n0 = int64_t(blockIdx.x) % blocks * kTile;
  const int64_t first_query = (segment * queries + n0) * channels + head * width;
  const int64_t first_key = segment * tokens * channels + head * width;
  const float* bias = all.bias ? all.bias + segment * all.bias_pitch + (head * queries + n0) * tokens : nullptr;
  const uint8_t* regions = all.regions ? all.regions + segment * queries : nullptr;
  load_tile<kWidth>(query, pitch_of(kWidth), all.q + first_query, channels, queries - n0, width);

  const bool in_pairs = width % 2 == 0 && reinterpret_cast<uintptr_t>(all.y) % 8 == 0;  // which memory takes at once
  float sums[kRun][2 * kPairs] = {}, largest[kRun], total[kRun] = {};
#pragma unroll
  for (int i = 0; i < kRun; ++i) largest[i] = -INFINITY;
  for (int64_t first = 0; first < tokens; first += kTile) {
    const int count = int(min(int64_t(kTile), tokens - first));
    __syncthreads();
    load_tile<kWidth>(key, pitch_of(kWidth), all.k + first_key + first * channels, channels, count, width);
    load_tile<kWidth>(value, kWidth, all.v + first_key + first * channels, channels, count, width);
    __syncthreads();

    float products[kRun][kRun] = {};
#pragma unroll 4
    for (int c = 0; c < kWidth; c += 4) {
      float4 left[kRun], right[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        left[i] = *reinterpret_cast<const float4*>(query + (row0 + i) * pitch_of(kWidth) + c);
        right[i] = *reinterpret_cast<const float4*>(key + (x + i * kAcross) * pitch_of(kWidth) + c);
      }
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
#pragma unroll
        for (int j = 0; j < kRun; ++j) {
          float& sum = products[i][j];
          sum = fmaf(left[i].x, right[j].x, sum);
          sum = fmaf(left[i].y, right[j].y, sum);
          sum = fmaf(left[i].z, right[j].z, sum);
          sum = fmaf(left[i].w, right[j].w, sum);
        }
      }
    }

#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const bool there = n0 + row0 + i < queries;
      float top = largest[i];
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        const int t = x + j * kAcross;
        float& product = products[i][j];
        product *= scale;
        if (bias && there && t < count) product += bias[(row0 + i) * tokens + first + t];
        if (regions && there && t < count && regions[n0 + row0 + i] != regions[first + t]) product += kOtherRegion;
        if (t >= count) product = -INFINITY;
        top = fmaxf(top, product);
      }
      top = row_max(top);
      const float base = top == -INFINITY ? 0.f : top;  // nothing yet: every weight is zero
      const float kept = expf(largest[i] - base);
      largest[i] = top;
      total[i] *= kept;
#pragma unroll
      for (int c = 0; c < 2 * kPairs; ++c) sums[i][c] *= kept;
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        const float share = expf(products[i][j] - base);
        total[i] += share;
        weight[(row0 + i) * kPitch + x + j * kAcross] = share;
      }
    }
    __syncwarp();  // a row's weights are read by the lanes that wrote them

    for (int t = 0; t < count; t += 4) {
      float4 shares[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        shares[i] = *reinterpret_cast<const float4*>(weight + (row0 + i) * kPitch + t);
      }
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        const float* from = value + t * kWidth + 2 * x + pair * 2 * kAcross;
        float2 values[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) values[k] = *reinterpret_cast<const float2*>(from + k * kWidth);
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
          const float share[4] = {shares[i].x, shares[i].y, shares[i].z, shares[i].w};
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            sums[i][2 * pair] = fmaf(share[k], values[k].x, sums[i][2 * pair]);
            sums[i][2 * pair + 1] = fmaf(share[k], values[k].y, sums[i][2 * pair + 1]);
          }
        }
      }
    }
    __syncwarp();
  }

#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    const float sum = row_sum(total[i]);
    if (n0 + row0 + i >= queries) continue;
    float* to = all.y + first_query + (row0 + i) * channels;
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      const int channel = 2 * x + pair * 2 * kAcross;
      const float2 mean{sums[i][2 * pair] / sum, sums[i][2 * pair + 1] / sum};
      if (in_pairs) {
        if (channel < width) store_global(to + channel, mean.x, mean.y);
      } else {
        if (channel < width) to[channel] = mean.x;
        if (channel + 1 < width) to[channel + 1] = mean.y;
      }
    }
  }
}

int64_t padded(int64_t width) { return divide_up(width, 2 * kAcross) * 2 * kAcross; }

template <int kWidth>
void launch_tiled(const Stream& stream, const Attention& sizes) {
  const int64_t width = sizes.channels / sizes.heads;
  const dim3 grid(unsigned(sizes.segments * divide_up(sizes.queries, kTile)), unsigned(sizes.heads));
  launch(stream, {"attention_tiled", grid, kThreads, shared_bytes(kWidth)}, attention_tiled_kernel<kWidth>, sizes,
         int(width), 1.f / std::sqrt(float(width)));
}

}  // namespace

std::string attention_tiled_refusal(const Attention& sizes, const DeviceLimits& limits) {
  const int64_t width = sizes.channels / sizes.heads;
  if (width > kWidest) {
    return "heads are " + std::to_string(width) + " channels wide, it takes up to " + std::to_string(kWidest);
  }
  const int64_t bytes = shared_bytes(int(padded(width)));
  if (bytes <= limits.shared_bytes) return "";
  return "heads of " + std::to_string(width) + " channels need " + std::to_string(bytes) +
         " bytes of shared memory a block, this device has " + std::to_string(limits.shared_bytes);
}

void attention_tiled(const Stream& stream, const Attention& sizes) {
  switch (padded(sizes.channels / sizes.heads)) {
    case 32: return launch_tiled<32>(stream, sizes);
    case 64: return launch_tiled<64>(stream, sizes);
    case 96: return launch_tiled<96>(stream, sizes);
    default: return launch_tiled<128>(stream, sizes);
  }
}

}  // namespace sat::cuda
