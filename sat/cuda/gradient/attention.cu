// The gradient of attention, from queries, keys and values alone: softmax is made again, tile by tile.
#include <cmath>

#include "sat/cuda/attention/attention.h"
#include "sat/cuda/backend.h"
#include "sat/cuda/device/dropout.cuh"

namespace sat::cuda {

namespace {

constexpr int kRows = 32, kColumns = 32;  // of a block's tile
constexpr int kThreads = 256;
constexpr int kAcross = kThreads / kRows;        // threads a row
constexpr int kOwn = kColumns / kAcross;         // columns of a row that a thread takes
constexpr int kMostWidth = 128;                  // of a head
constexpr int kChannels = kMostWidth / kAcross;  // of a row that a thread sums, at most

/// What softmax needs again of a query: its largest product, 1 / the sum of exponentials, and the weights' mean of
/// dp = dy . v with what dropout does to it.
struct QueryMoments {
  float largest, share, mean;
};

struct AttentionGradient {
  Attention of;
  const float* dy;
  float *dq, *dk, *dv;
  float* dbias;           // of one segment each, or of the only one; null where it is not wanted here
  QueryMoments* moments;  // [segments][heads][queries]
  int width;
  float scale;

  __device__ float product(int64_t segment, int64_t head, int64_t n, int64_t t, float dot) const {
    float value = dot * scale;
    if (of.bias) value += of.bias[segment * of.bias_pitch + (head * of.queries + n) * of.tokens + t];
    if (of.regions) {
      const uint8_t* regions = of.regions + segment * of.queries;
      if (regions[n] != regions[t]) value += kOtherRegion;
    }
    return value;
  }
  /// What dropout multiplies this weight by.
  __device__ float kept(int64_t segment, int64_t head, int64_t n, int64_t t) const {
    if (of.dropped.rate <= 0) return 1;
    return kept_share(of.dropped, of.place + ((segment * of.heads + head) * of.queries + n) * of.tokens + t);
  }
};

/// Rows of one head, zeros behind the last: to [kRows][width | 1].
__device__ void load_rows(float* to, const float* from, int64_t first, int64_t rows, int64_t channels, int width) {
  const int pitch = width | 1;
  for (int row = int(threadIdx.x) / 32; row < kRows; row += kThreads / 32) {
    for (int c = int(threadIdx.x) % 32; c < width; c += 32) {
      to[row * pitch + c] = first + row < rows ? from[(first + row) * channels + c] : 0.f;
    }
  }
}

/// Products of this thread's row of `left` with its columns' rows of `right`: those of q and k, or of dy and v.
__device__ void dots(float (&to)[kOwn], const float* left, const float* right, int row, int column, int width) {
  const int pitch = width | 1;
#pragma unroll
  for (float& value : to) value = 0;
  for (int c = 0; c < width; ++c) {
    const float own = left[row * pitch + c];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) to[i] = fmaf(own, right[(column + i * kAcross) * pitch + c], to[i]);
  }
}

/// sums[i] += factors[row] . rows, channel column + i * kAcross of it; factors [kRows][kColumns + 1].
__device__ void accumulate(float (&sums)[kChannels], const float* factors, const float* rows, int row, int column,
                           int width) {
  const int pitch = width | 1;
  for (int j = 0; j < kColumns; ++j) {
    const float factor = factors[row * (kColumns + 1) + j];
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      const int c = column + i * kAcross;
      if (c < width) sums[i] = fmaf(factor, rows[j * pitch + c], sums[i]);
    }
  }
}

/// dq, the moments of each query, and dbias where each segment has its own.
/// A block takes 32 queries of one head of one segment; keys and values pass by twice in tiles of 32, once for
/// softmax's largest, sum and mean, once for ds = p * (dp - mean) and dq = scale * sum ds k. Eight threads have a
/// query: four keys of a tile each, then every eighth channel. Sums run over keys in order. Traffic: keys and values
/// twice a block (from the L2 cache but for the first), q, dy and dq once, dbias once.
__global__ void __launch_bounds__(kThreads) attention_queries_kernel(const AttentionGradient all) {
  extern __shared__ float shared[];
  const Attention& of = all.of;
  const int width = all.width, tile = kRows * (width | 1);
  float *q = shared, *dy = q + tile, *k = dy + tile, *v = k + tile, *ds = v + tile;
  const int row = int(threadIdx.x) / kAcross, column = int(threadIdx.x) % kAcross;
  const int64_t blocks = (of.queries + kRows - 1) / kRows, segment = blockIdx.x / blocks, head = blockIdx.y;
  const int64_t first = blockIdx.x % blocks * kRows, n = first + row;
  const int64_t query0 = segment * of.queries * of.channels + head * width;
  const int64_t key0 = segment * of.tokens * of.channels + head * width;
  const bool there = n < of.queries;
  load_rows(q, of.q + query0, first, of.queries, of.channels, width);
  load_rows(dy, all.dy + query0, first, of.queries, of.channels, width);

  float products[kOwn], dp[kOwn];
  const auto take_tile = [&](int64_t token) {
    __syncthreads();
    load_rows(k, of.k + key0, token, of.tokens, of.channels, width);
    load_rows(v, of.v + key0, token, of.tokens, of.channels, width);
    __syncthreads();
    dots(products, q, k, row, column, width);
    dots(dp, dy, v, row, column, width);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t t = token + column + i * kAcross;
      const bool is_weight = there && t < of.tokens;
      products[i] = is_weight ? all.product(segment, head, n, t, products[i]) : -INFINITY;
      dp[i] = is_weight ? dp[i] * all.kept(segment, head, n, t) : 0.f;
    }
  };
  const auto over_row = [&](float value, auto join) {  // a tree over the row's eight neighbouring lanes
    for (int step = kAcross / 2; step > 0; step /= 2) value = join(value, __shfl_xor_sync(~0u, value, step));
    return value;
  };
  const auto sum = [](float a, float b) { return a + b; };

  QueryMoments own{-INFINITY, 0, 0};
  for (int64_t token = 0; token < of.tokens; token += kColumns) {
    take_tile(token);
    float largest = own.largest;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) largest = fmaxf(largest, products[i]);
    largest = over_row(largest, [](float a, float b) { return fmaxf(a, b); });
    if (!there) continue;
    float total = 0, mean = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float weight = expf(products[i] - largest);
      total += weight;
      mean = fmaf(weight, dp[i], mean);
    }
    const float before = expf(own.largest - largest);
    own = {largest, fmaf(own.share, before, total), fmaf(own.mean, before, mean)};
  }
  own.share = 1 / over_row(own.share, sum);
  own.mean = over_row(own.mean, sum) * own.share;
  if (there && column == 0) all.moments[(segment * of.heads + head) * of.queries + n] = own;

  float sums[kChannels] = {};
  for (int64_t token = 0; token < of.tokens; token += kColumns) {
    take_tile(token);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t t = token + column + i * kAcross;
      const float d = there && t < of.tokens ? expf(products[i] - own.largest) * own.share * (dp[i] - own.mean) : 0.f;
      ds[row * (kColumns + 1) + column + i * kAcross] = d;
      if (all.dbias && there && t < of.tokens) {
        all.dbias[segment * of.bias_pitch + (head * of.queries + n) * of.tokens + t] = d;
      }
    }
    __syncwarp();  // a row's lanes are of one warp
    accumulate(sums, ds, k, row, column, width);
  }
  if (!there || all.dq == nullptr) return;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = column + i * kAcross;
    if (c < width) all.dq[query0 + n * of.channels + c] = sums[i] * all.scale;
  }
}

/// dk and dv, behind attention_queries_kernel. A block takes 32 keys, and queries pass by once, as keys do there:
/// dv = sum p dy, dk = scale * sum ds q, over queries in order. Traffic: queries, dy and moments once a block (from the
/// L2 cache but for the first), k, v, dk and dv once.
__global__ void __launch_bounds__(kThreads) attention_keys_kernel(const AttentionGradient all) {
  extern __shared__ float shared[];
  const Attention& of = all.of;
  const int width = all.width, tile = kRows * (width | 1);
  float *k = shared, *v = k + tile, *q = v + tile, *dy = q + tile, *ds = dy + tile, *p = ds + kRows * (kColumns + 1);
  const int row = int(threadIdx.x) / kAcross, column = int(threadIdx.x) % kAcross;
  const int64_t blocks = (of.tokens + kRows - 1) / kRows, segment = blockIdx.x / blocks, head = blockIdx.y;
  const int64_t first = blockIdx.x % blocks * kRows, t = first + row;
  const int64_t query0 = segment * of.queries * of.channels + head * width;
  const int64_t key0 = segment * of.tokens * of.channels + head * width;
  const bool there = t < of.tokens;
  load_rows(k, of.k + key0, first, of.tokens, of.channels, width);
  load_rows(v, of.v + key0, first, of.tokens, of.channels, width);
  float products[kOwn], dp[kOwn], dk[kChannels] = {}, dv[kChannels] = {};
  for (int64_t query = 0; query < of.queries; query += kColumns) {
    __syncthreads();
    load_rows(q, of.q + query0, query, of.queries, of.channels, width);
    load_rows(dy, all.dy + query0, query, of.queries, of.channels, width);
    __syncthreads();
    dots(products, k, q, row, column, width);
    dots(dp, v, dy, row, column, width);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t n = query + column + i * kAcross;
      float weight = 0, kept = 0, d = 0;
      if (there && n < of.queries) {
        const QueryMoments own = all.moments[(segment * of.heads + head) * of.queries + n];
        weight = expf(all.product(segment, head, n, t, products[i]) - own.largest) * own.share;
        kept = all.kept(segment, head, n, t);
        d = weight * (dp[i] * kept - own.mean);
      }
      ds[row * (kColumns + 1) + column + i * kAcross] = d;
      p[row * (kColumns + 1) + column + i * kAcross] = weight * kept;
    }
    __syncwarp();
    accumulate(dk, ds, q, row, column, width);
    accumulate(dv, p, dy, row, column, width);
  }
  if (!there) return;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = column + i * kAcross;
    if (c >= width) break;
    if (all.dk) all.dk[key0 + t * of.channels + c] = dk[i] * all.scale;
    if (all.dv) all.dv[key0 + t * of.channels + c] = dv[i];
  }
}

/// dbias [heads, N, T] that all segments share, behind attention_queries_kernel: one thread a query and key, over the
/// segments in order, products made again. Traffic: queries, keys, values and dy from memory or cache, 1 write.
__global__ void __launch_bounds__(kThreads) shared_bias_gradient_kernel(float* dbias, const AttentionGradient all) {
  const Attention& of = all.of;
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= of.heads * of.queries * of.tokens) return;
  const int64_t t = i % of.tokens, n = i / of.tokens % of.queries, head = i / of.tokens / of.queries;
  float sum = 0;
  for (int64_t segment = 0; segment < of.segments; ++segment) {
    const int64_t query = (segment * of.queries + n) * of.channels + head * all.width;
    const int64_t key = (segment * of.tokens + t) * of.channels + head * all.width;
    float dot = 0, dp = 0;
    for (int c = 0; c < all.width; ++c) {
      dot = fmaf(of.q[query + c], of.k[key + c], dot);
      dp = fmaf(all.dy[query + c], of.v[key + c], dp);
    }
    const QueryMoments own = all.moments[(segment * of.heads + head) * of.queries + n];
    const float weight = expf(all.product(segment, head, n, t, dot) - own.largest) * own.share;
    sum += weight * (dp * all.kept(segment, head, n, t) - own.mean);
  }
  dbias[i] = sum;
}

}  // namespace

void CudaBackend::attention_gradient(Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias, const Tensor& dy,
                                     const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                     const Segments& segments, const Tensor& bias, const Dropout& dropped) {
  const Stream& stream = runtime_.stream();
  const int64_t width = q.shape[1] / heads;
  SAT_CHECK(width <= kMostWidth, "attention: heads of ", width, " channels, the gradient takes at most ", kMostWidth);
  const Tensor regions = segments.regions.empty() ? Tensor() : runtime_.uploaded(segments.regions);
  Attention of{};
  of.q = q.address<float>();
  of.k = k.address<float>();
  of.v = v.address<float>();
  of.bias = bias.address<float>();
  of.channels = q.shape[1];
  of.heads = heads;
  of.regions = regions.empty() ? nullptr : regions.address<uint8_t>();
  of.dropped = dropped;
  const bool bias_of_each = bias.shape.rank() == 1;
  Tensor moments({q.shape[0] * heads, 3}, DType::f32, q.device);
  const int64_t tiles = 4 * kRows * (width | 1) * int64_t(sizeof(float));
  const int64_t squares = kRows * (kColumns + 1) * int64_t(sizeof(float));
  for_equal_segments(of, segments, bias_of_each, [&](const Attention& sizes, const AttentionPlace& place) {
    const auto at = [](Tensor& x, int64_t first) { return x.empty() ? nullptr : x.address<float>() + first; };
    AttentionGradient all{
        sizes,
        dy.address<float>() + place.query,
        at(dq, place.query),
        at(dk, place.key),
        at(dv, place.key),
        at(dbias, place.bias),
        reinterpret_cast<QueryMoments*>(moments.address<float>() + place.query / of.channels * heads * 3),
        int(width),
        1.f / std::sqrt(float(width))};
    if (!bias_of_each && sizes.segments > 1) all.dbias = nullptr;
    const auto blocks = [&](int64_t rows) {
      return dim3(unsigned(sizes.segments * divide_up(rows, kRows)), unsigned(heads));
    };
    launch(stream, {"attention_queries", blocks(sizes.queries), kThreads, tiles + squares}, attention_queries_kernel,
           all);
    if (!dk.empty() || !dv.empty()) {
      launch(stream, {"attention_keys", blocks(sizes.tokens), kThreads, tiles + 2 * squares}, attention_keys_kernel,
             all);
    }
    if (!dbias.empty() && all.dbias == nullptr) {
      launch(stream, {"shared_bias_gradient", unsigned(divide_up(dbias.numel(), kThreads)), kThreads},
             shared_bias_gradient_kernel, dbias.address<float>(), all);
    }
  });
}

}  // namespace sat::cuda
