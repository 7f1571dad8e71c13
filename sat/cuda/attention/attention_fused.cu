// Attention on tensor cores with a streaming softmax: no product of queries and keys ever leaves the registers.
#include <cmath>

#include "sat/cuda/attention/attention.h"
#include "sat/cuda/device/token_mma.cuh"

namespace sat::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kQueries = 16 * kWarps;  // a block; 16 a warp
constexpr int kKeys = 64;              // that are held at once
constexpr int kGroups = kKeys / 16;    // keys are taken 16 at a time
constexpr int kWidest = 96;

/// Rows of keys and values: an odd number of 16 byte pieces, so that 8 rows' pieces lie in 32 banks.
constexpr int pitch_of(int width) { return width + 8; }

/// One head of q, k or v: `width` channels of each row. kFours: any 4 channels from a multiple of 4 on are 16 aligned
/// bytes; otherwise they are read one by one.
template <bool kFours>
struct Rows {
  const float* values;
  int64_t pitch;  // channels
  int width;

  /// Channels of one row from c on, `row` pointing at the first of them; zeros behind the last.
  __device__ float one(const float* row, int c) const { return c < width ? *row : 0.f; }
  __device__ float2 two(const float* row, int c) const {
    if constexpr (!kFours) return {one(row, c), one(row + 1, c + 1)};
    return c < width ? *reinterpret_cast<const float2*>(row) : float2{0, 0};
  }
  __device__ float4 four(const float* row, int c) const {
    if constexpr (!kFours) return {one(row, c), one(row + 1, c + 1), one(row + 2, c + 2), one(row + 3, c + 3)};
    return c < width ? *reinterpret_cast<const float4*>(row) : float4{0, 0, 0, 0};
  }
  __device__ Rows from(int64_t row, int64_t head) const { return {values + row * pitch + head * width, pitch, width}; }
};

/// to [kKeys][pitch_of(kWidth)] = rows [first, first + count), rounded; zeros behind the last row and channel. A warp
/// takes 16 rows; eight lanes take 32 channels of one, which are 128 contiguous bytes; of 16 lanes, which store
/// together, the two rows are 4 apart, which puts their 64 bytes each into different banks at every pitch. Rows of 16
/// channels take four lanes each; the four rows that are stored together are 2 apart for the same reason.
template <class T, int kWidth, bool kFours>
__device__ void load_tile(T* to, const Rows<kFours>& rows, int64_t first, int count) {
  constexpr int kLanes = kWidth < 32 ? 4 : 8;  // of a row
  const int lane = threadIdx.x % 32, part = lane / kLanes;
  const int row = threadIdx.x / 32 * 16 + (kLanes == 4 ? part / 4 + part % 4 * 2 : part / 2 + part % 2 * 4);
  const int c = lane % kLanes * 4;
  const float* from = rows.values + (first + row) * rows.pitch + c;
  to += row * pitch_of(kWidth) + c;
#pragma unroll(kFours ? 4 : 1)
  for (int i = 0; i < kLanes / 2; ++i) {
    const int down = kLanes == 4 ? i * 8 : i / 2 * 8 + i % 2 * 2;
#pragma unroll
    for (int run = 0; run < kWidth; run += 32) {
      const float4 x = row + down < count ? rows.four(from + down * rows.pitch + run, c + run) : float4{0, 0, 0, 0};
      store_shared(to + down * pitch_of(kWidth) + run, packed<T>(x.x, x.y), packed<T>(x.z, x.w));
    }
  }
}

/// The largest or the sum of a row's values, which four neighbouring lanes hold.
__device__ float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
  return fmaxf(value, __shfl_xor_sync(~0u, value, 2));
}
__device__ float row_sum(float value) {
  value += __shfl_xor_sync(~0u, value, 1);
  return value + __shfl_xor_sync(~0u, value, 2);
}

/// What is added to products, of all segments, as in Attention.
struct Added {
  const float* bias;
  int64_t pitch;
  const uint8_t* regions;
};

/// y [N, C] = softmax(q k^T * scale + bias) v for each head's channels of each segment; k, v [T, C], bias [heads, N, T]
/// or null. kRegions: to products of rows of different regions kOtherRegion is added.
/// A block takes 64 queries of one head of one segment, a warp 16 of them, whose rounded values stay in registers. Keys
/// and values pass by in tiles of 64 rows, rounded to T on their way into shared memory. A warp holds its 16 x 64
/// products in registers, adds the bias, and keeps for each row the largest so far and the sum of exp(product -
/// largest); where a larger one comes, the sum and the weighted values so far are scaled down. The weights, rounded to
/// T, are the left side of the product with the values as they lie. Everything between products is f32; tiles are taken
/// in order, so a query's bits do not depend on the other queries. Keys behind the last weigh nothing, groups of 16 of
/// them and warps without a query are skipped. Products: 4 * N * T * width flop. Traffic: q, bias and y once; k and v
/// once a block (from the L2 cache but for the first).
template <class T, int kWidth, bool kFours, bool kRegions>
__global__ void __launch_bounds__(kThreads, 3)
    attention_fused_kernel(float* y, const Rows<kFours> q, const Rows<kFours> k, const Rows<kFours> v,
                           const Added added, int64_t queries, int64_t tokens, float scale) {
  __shared__ __align__(16) T key[kKeys * pitch_of(kWidth)];
  __shared__ __align__(16) T value[kKeys * pitch_of(kWidth)];
  __shared__ uint8_t region[kRegions ? kKeys : 1];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t head = blockIdx.y, blocks = (queries + kQueries - 1) / kQueries, segment = int64_t(blockIdx.x) / blocks;
  const int64_t first_row = int64_t(blockIdx.x) % blocks * kQueries + warp * 16;
  // A lane's two rows of the warp's 16 and its columns of every 8, as multiply_add() lays them out.
  const int64_t rows[2] = {first_row + lane / 4, first_row + lane / 4 + 8};
  const int column = lane % 4 * 2;
  const Rows<kFours> head_q = q.from(segment * queries, head), head_k = k.from(segment * tokens, head),
                     head_v = v.from(segment * tokens, head);
  const float* bias = added.bias ? added.bias + segment * added.pitch + head * queries * tokens : nullptr;
  const uint8_t* regions = kRegions ? added.regions + segment * queries : nullptr;
  const int own[2] = {kRegions && rows[0] < queries ? regions[rows[0]] : 0,
                      kRegions && rows[1] < queries ? regions[rows[1]] : 0};

  uint32_t query[kWidth / 16][4];
#pragma unroll
  for (int step = 0; step < kWidth / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = rows[i % 2];
      const int c = step * 16 + i / 2 * 8 + column;
      const float2 pair = row < queries ? head_q.two(head_q.values + row * q.pitch + c, c) : float2{0, 0};
      query[step][i] = packed<T>(pair.x, pair.y);
    }
  }

  float sum[kWidth / 8][4] = {};  // of weights times values
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  for (int64_t first = 0; first < tokens; first += kKeys) {
    const int count = int(min(int64_t(kKeys), tokens - first));
    __syncthreads();
    load_tile<T, kWidth, kFours>(key, head_k, first, count);
    load_tile<T, kWidth, kFours>(value, head_v, first, count);
    if constexpr (kRegions) {
      if (threadIdx.x < count) region[threadIdx.x] = regions[first + threadIdx.x];
    }
    __syncthreads();
    if (first_row >= queries) continue;

    float weight[2 * kGroups][4] = {};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (16 * group >= count) break;
      const T* from = key + (16 * group + lane / 16 * 8 + lane % 8) * pitch_of(kWidth) + lane / 8 % 2 * 8;
#pragma unroll
      for (int step = 0; step < kWidth / 16; ++step) {
        uint32_t right[4];
        load_matrices<false>(right, from + step * 16);
        multiply_add<T>(weight[2 * group], query[step], right[0], right[1]);
        multiply_add<T>(weight[2 * group + 1], query[step], right[2], right[3]);
      }
    }

#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float* of_row = bias && rows[r] < queries ? bias + rows[r] * tokens + first : nullptr;
      float top = largest[r];
#pragma unroll
      for (int i = 0; i < 4 * kGroups; ++i) {
        const int at = i / 2 * 8 + column + i % 2;
        float& x = weight[i / 2][2 * r + i % 2];
        x = fmaf(x, scale, of_row && at < count ? of_row[at] : 0.f);
        if constexpr (kRegions) {
          if (at < count && region[at] != own[r]) x += kOtherRegion;
        }
        if (count < kKeys && at >= count) x = -INFINITY;
        top = fmaxf(top, x);
      }
      top = row_max(top);
      const float base = top == -INFINITY ? 0.f : top;  // nothing yet: every weight is zero
      const float kept = __expf(largest[r] - base);
      largest[r] = top;
      total[r] *= kept;
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) sum[n][2 * r] *= kept, sum[n][2 * r + 1] *= kept;
#pragma unroll
      for (int i = 0; i < 4 * kGroups; ++i) {
        float& x = weight[i / 2][2 * r + i % 2];
        total[r] += x = __expf(x - base);
      }
    }

#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (16 * group >= count) break;
      const float(&left)[4] = weight[2 * group], (&right)[4] = weight[2 * group + 1];
      const uint32_t weights[4] = {packed<T>(left[0], left[1]), packed<T>(left[2], left[3]),
                                   packed<T>(right[0], right[1]), packed<T>(right[2], right[3])};
      const T* from = value + (16 * group + lane / 8 % 2 * 8 + lane % 8) * pitch_of(kWidth) + lane / 16 * 8;
#pragma unroll
      for (int n = 0; n < kWidth / 8; n += 2) {
        uint32_t values[4];
        load_matrices<true>(values, from + n * 8);
        multiply_add<T>(sum[n], weights, values[0], values[1]);
        multiply_add<T>(sum[n + 1], weights, values[2], values[3]);
      }
    }
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float all = row_sum(total[r]);
    if (rows[r] >= queries) continue;
    float* to = y + (segment * queries + rows[r]) * q.pitch + head * q.width;
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
      const int c = n * 8 + column;
      const float2 mean{sum[n][2 * r] / all, sum[n][2 * r + 1] / all};
      if constexpr (kFours) {
        if (c < q.width) store_global(to + c, mean.x, mean.y);
      } else {
        if (c < q.width) to[c] = mean.x;
        if (c + 1 < q.width) to[c + 1] = mean.y;
      }
    }
  }
}

template <class T, int kWidth, bool kFours, bool kRegions>
void launch_fused(const Stream& stream, const Attention& sizes) {
  const int width = int(sizes.channels / sizes.heads);
  const auto rows = [&](const float* values) { return Rows<kFours>{values, sizes.channels, width}; };
  const Launch how{"attention_fused",
                   {unsigned(sizes.segments * divide_up(sizes.queries, kQueries)), unsigned(sizes.heads), 1},
                   kThreads};
  launch(stream, how, attention_fused_kernel<T, kWidth, kFours, kRegions>, sizes.y, rows(sizes.q), rows(sizes.k),
         rows(sizes.v), Added{sizes.bias, sizes.bias_pitch, sizes.regions}, sizes.queries, sizes.tokens,
         1.f / std::sqrt(float(width)));
}

template <class T, bool kRegions>
void launch_by_width(const Stream& stream, const Attention& sizes) {
  const int64_t width = sizes.channels / sizes.heads;
  bool fours = width % 4 == 0;
  for (const float* pointer : {sizes.q, sizes.k, sizes.v, static_cast<const float*>(sizes.y)}) {
    fours = fours && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  }
  if (!fours) {
    return width <= 32 ? launch_fused<T, 32, false, kRegions>(stream, sizes)
                       : launch_fused<T, 96, false, kRegions>(stream, sizes);
  }
  if (width <= 16) return launch_fused<T, 16, true, kRegions>(stream, sizes);
  if (width <= 32) return launch_fused<T, 32, true, kRegions>(stream, sizes);
  if (width <= 64) return launch_fused<T, 64, true, kRegions>(stream, sizes);
  launch_fused<T, 96, true, kRegions>(stream, sizes);
}

template <class T>
void launch_by_regions(const Stream& stream, const Attention& sizes) {
  if (sizes.regions) return launch_by_width<T, true>(stream, sizes);
  launch_by_width<T, false>(stream, sizes);
}

}  // namespace

std::string attention_fused_refusal(const Attention& sizes, const DeviceLimits& limits) {
  if (sizes.products != DType::f16 && sizes.products != DType::bf16) {
    return std::string("products are taken in ") + name_of(sizes.products) + ", it needs f16 or bf16";
  }
  const int64_t width = sizes.channels / sizes.heads;
  if (width > kWidest) {
    return "heads are " + std::to_string(width) + " channels wide, it takes up to " + std::to_string(kWidest);
  }
  if (limits.arch < 80) return "needs sm_80, this device is sm_" + std::to_string(limits.arch);
  return "";
}

void attention_fused(const Stream& stream, const Attention& sizes) {
  if (sizes.products == DType::f16) return launch_by_regions<__half>(stream, sizes);
  launch_by_regions<__nv_bfloat16>(stream, sizes);
}

}  // namespace sat::cuda
