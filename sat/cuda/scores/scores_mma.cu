// The mask product on tensor cores: features of half types against masks rounded to their type, with squashing and
// accumulation or a bit for the sign behind it.
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/token_mma.cuh"
#include "sat/cuda/scores/scores.cuh"

namespace sat::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kWarpVoxels = 32;  // two products of 16 rows
constexpr int kVoxels = kWarps * kWarpVoxels;
constexpr int kPrompts = 32;     // that are held at once
constexpr int kRun = 32;         // channels that are loaded at once, two products of 16
constexpr int kScorePitch = 40;  // of [voxel][prompt]: pairs of floats of 4 rows in 32 banks
constexpr int kBitPitch = 36;    // of [prompt][voxel]: floats of 8 columns and every other row in 32 banks
constexpr int kWordPitch = kWarps + 1;
constexpr int64_t kMostChannels = 128;

/// Rows of masks: a multiple of 64 bytes, but not of 128, so that the 16 bytes of 4 lanes of two rows lie in 32 banks.
constexpr int mask_pitch(int runs) { return kRun * (runs | 1); }

/// The final features of a warp's 32 voxels as the left sides of its products, kept in registers for all prompts.
/// A sum over channels may take them in any order as long as both sides agree. So lane q of 4 has channels 8q .. 8q + 7
/// of a run, which are 16 bytes in memory: pairs 0 and 1 go into the first product of the run, 2 and 3 into the second.
/// Each row's 64 bytes a run are whole sectors, and nothing passes through shared memory.
template <class T, int kRuns>
struct WarpFeatures {
  uint32_t left[kRuns][2][2][4];  // [run][rows 0-15, 16-31][product of the run]

  /// `row`: where this lane's voxel begins, in elements.
  __device__ void load(const T* features, int64_t row, const PendingNorm& norm, int channels) {
    const int lane = threadIdx.x % 32;
    int64_t rows[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) rows[i] = __shfl_sync(~0u, row, lane / 4 + 8 * i);
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const int channel = run * kRun + lane % 4 * 8;
      uint4 values[4] = {};
      if (channel < channels) {
#pragma unroll
        for (int i = 0; i < 4; ++i) values[i] = *reinterpret_cast<const uint4*>(features + rows[i] + channel);
        if (norm.center != nullptr) finish(values, norm, channel);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        left[run][i / 2][0][i % 2] = values[i].x;
        left[run][i / 2][0][i % 2 + 2] = values[i].y;
        left[run][i / 2][1][i % 2] = values[i].z;
        left[run][i / 2][1][i % 2 + 2] = values[i].w;
      }
    }
  }

  /// Eight channels of four rows, from `channel` on: their pending norm applied, rounded again.
  __device__ static void finish(uint4 (&values)[4], const PendingNorm& norm, int channel) {
    float center[8], factor[8], shift[8];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto copy = [&](float(&to)[8], const float* from) {
        const float4 four = reinterpret_cast<const float4*>(from + channel)[half];
        to[4 * half] = four.x, to[4 * half + 1] = four.y, to[4 * half + 2] = four.z, to[4 * half + 3] = four.w;
      };
      copy(center, norm.center), copy(factor, norm.factor), copy(shift, norm.shift);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float x[8];
      T stored[8];
      memcpy(stored, &values[i], sizeof stored);
#pragma unroll
      for (int c = 0; c < 8; ++c) x[c] = normalised(widen(stored[c]), center[c], factor[c], shift[c], norm.slope);
      values[i] = rounded_word<T, 8>(x);
    }
  }

  /// Logits of 8 prompts, whose masks begin at `mask`, rows of 16 voxels apart as multiply_add() lays out sums.
  __device__ void multiply(float (&sum)[2][4], const T* mask) const {
    mask += threadIdx.x % 32 / 4 * mask_pitch(kRuns) + threadIdx.x % 4 * 8;
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const uint4 right = *reinterpret_cast<const uint4*>(mask + run * kRun);
#pragma unroll
      for (int rows = 0; rows < 2; ++rows) {
        multiply_add<T>(sum[rows], left[run][rows][0], right.x, right.y);
        multiply_add<T>(sum[rows], left[run][rows][1], right.z, right.w);
      }
    }
  }
};

/// Masks of up to 32 prompts from `prompt` on, rounded, zeros behind the last channel and prompt; all warps take part.
template <class T, int kRuns>
__device__ void load_masks(T* to, const float* masks, int channels, int64_t prompt, int64_t prompts) {
  const int lane = threadIdx.x % 32;
  for (int n = threadIdx.x / 32; n < kPrompts; n += kWarps) {
    for (int c = 2 * lane; c < kRuns * kRun; c += 64) {
      float2 pair{0, 0};
      if (prompt + n < prompts && c < channels) {
        pair = *reinterpret_cast<const float2*>(masks + (prompt + n) * channels + c);
      }
      *reinterpret_cast<uint32_t*>(to + n * mask_pitch(kRuns) + c) = packed<T>(pair.x, pair.y);
    }
  }
}

/// tanh(l / 2) within 2e-7: infinite powers give 1.
__device__ float squashed(float l) { return 1.f - __fdividef(2.f, 1.f + __expf(l)); }

/// scores [.., N] += importance * tanh(l / 2), l = features . masks, over the voxels of a region.
///   features [.., C] f16 or bf16, C a multiple of 8 up to 128; masks f32 [N, C]
/// A block takes 256 voxels, a warp 32 of them, whose final features stay in its registers while the masks pass by in
/// tiles of 32 prompts, rounded to the features' type on the way into shared memory. Logits leave the tensor cores as
/// a tile [32 voxels][8 prompts] and are turned in shared memory, so that a warp adds to 32 prompts of a voxel at a
/// time, 128 contiguous bytes whatever N is. A score is read, added to and written by one lane: no atomics. Sums of a
/// logit are taken 16 channels at a time in f32, in a fixed order.
/// Traffic: 1 read of the features, 1 read and 1 write of the scores, the masks once a block (from the L2 cache).
template <class T, int kRuns>
__global__ void __launch_bounds__(kThreads, kRuns == 1 ? 3 : 2)
    mask_scores_mma_kernel(float* scores, const T* features, const PendingNorm norm, int channels, const float* masks,
                           const float* importance, const RegionPlaces places, int64_t prompts) {
  extern __shared__ uint4 shared[];
  T* mask = reinterpret_cast<T*>(shared);  // [kPrompts][mask_pitch]
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* logits = reinterpret_cast<float*>(mask + kPrompts * mask_pitch(kRuns)) + warp * kWarpVoxels * kScorePitch;

  const uint32_t first = blockIdx.x * kVoxels + warp * kWarpVoxels;  // of the warp's voxels
  const int count = int(min(uint32_t(kWarpVoxels), places.voxels - min(first, places.voxels)));
  const BoxVoxel voxel(places, min(first + lane, places.voxels - 1));  // of this lane
  const int64_t score_row = voxel.in(places.scores) * prompts;
  const float weight = importance[voxel.in(places.importance)];
  WarpFeatures<T, kRuns> feature;
  feature.load(features, voxel.in(places.features) * channels, norm, channels);

  for (int64_t prompt = 0; prompt < prompts; prompt += kPrompts) {
    __syncthreads();
    load_masks<T, kRuns>(mask, masks, channels, prompt, prompts);
    __syncthreads();
#pragma unroll
    for (int n = 0; n < kPrompts; n += 8) {
      if (prompt + n >= prompts) break;
      float sum[2][4] = {};
      feature.multiply(sum, mask + n * mask_pitch(kRuns));
      float* to = logits + lane / 4 * kScorePitch + n + lane % 4 * 2;
#pragma unroll
      for (int rows = 0; rows < 2; ++rows) {
        store_shared(to + 16 * rows * kScorePitch, sum[rows][0], sum[rows][1]);
        store_shared(to + (16 * rows + 8) * kScorePitch, sum[rows][2], sum[rows][3]);
      }
    }
    __syncwarp();
    const bool there = prompt + lane < prompts;
    constexpr int kBatch = 8;  // loads on their way together
    for (int v = 0; v < count; v += kBatch) {
      float* at[kBatch];
      float old[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        at[i] = scores + __shfl_sync(~0u, score_row, v + i) + prompt + lane;
        old[i] = there && v + i < count ? *at[i] : 0.f;
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const float added = __shfl_sync(~0u, weight, v + i) * squashed(logits[(v + i) * kScorePitch + lane]);
        if (there && v + i < count) *at[i] = old[i] + added;
      }
    }
  }
}

/// bits [N][ceil(voxels / 32)] of features . masks > 0; features [voxels, C], otherwise as above.
/// A warp's 32 voxels are one word of each prompt. Logits are turned in shared memory, so that lanes are voxels and a
/// ballot makes the word; the 8 words of a block are 32 contiguous bytes a prompt.
/// Traffic: 1 read of the features, 1 write of the bits, the masks once a block.
template <class T, int kRuns>
__global__ void __launch_bounds__(kThreads, kRuns <= 2 ? 3 : 2)
    mask_bits_mma_kernel(uint32_t* bits, const T* features, const PendingNorm norm, int channels, const float* masks,
                         int64_t voxels, int64_t prompts) {
  extern __shared__ uint4 shared[];
  __shared__ uint32_t words[kPrompts][kWordPitch];
  T* mask = reinterpret_cast<T*>(shared);  // [kPrompts][mask_pitch]
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* logits = reinterpret_cast<float*>(mask + kPrompts * mask_pitch(kRuns)) + warp * kPrompts * kBitPitch;

  const int64_t voxel = int64_t(blockIdx.x) * kVoxels + warp * kWarpVoxels + lane;
  const int64_t row_words = (voxels + 31) / 32;
  WarpFeatures<T, kRuns> feature;
  feature.load(features, min(voxel, voxels - 1) * channels, norm, channels);

  for (int64_t prompt = 0; prompt < prompts; prompt += kPrompts) {
    __syncthreads();
    load_masks<T, kRuns>(mask, masks, channels, prompt, prompts);
    __syncthreads();
#pragma unroll
    for (int n = 0; n < kPrompts; n += 8) {
      if (prompt + n >= prompts) break;
      float sum[2][4] = {};
      feature.multiply(sum, mask + n * mask_pitch(kRuns));
      float* to = logits + (n + lane % 4 * 2) * kBitPitch + lane / 4;
#pragma unroll
      for (int i = 0; i < 8; ++i) to[i % 2 * kBitPitch + i / 2 * 8] = sum[i / 4][i % 4];
    }
    __syncwarp();
    uint32_t word = 0;  // of prompt `lane`
    const int count = int(min(int64_t(kPrompts), prompts - prompt));
    for (int n = 0; n < count; ++n) {
      const uint32_t ballot = __ballot_sync(~0u, logits[n * kBitPitch + lane] > 0 && voxel < voxels);
      if (lane == n) word = ballot;
    }
    words[lane][warp] = word;
    __syncthreads();
    const int n = threadIdx.x / kWarps, w = threadIdx.x % kWarps;
    const int64_t at = int64_t(blockIdx.x) * kWarps + w;
    if (n < count && at < row_words) bits[(prompt + n) * row_words + at] = words[n][w];
  }
}

/// Calls body(T{}, runs) with the element type and how many runs of 32 channels there are, as a type.
template <class Body>
void with_form(const ConvInput& features, Body body) {
  const auto with_runs = [&](auto element) {
    switch (divide_up(features.channels, kRun)) {
      case 1: return body(element, std::integral_constant<int, 1>());
      case 2: return body(element, std::integral_constant<int, 2>());
      case 3: return body(element, std::integral_constant<int, 3>());
      default: return body(element, std::integral_constant<int, 4>());
    }
  };
  if (features.dtype == DType::f16) return with_runs(__half{});
  with_runs(__nv_bfloat16{});
}

int64_t mask_bytes(int64_t channels) {
  return kPrompts * mask_pitch(int(divide_up(channels, kRun))) * int64_t(sizeof(uint16_t));
}

bool aligned(const void* pointer, uintptr_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

}  // namespace

bool mask_scores_mma_fits(const ConvInput& features, const float* masks) {
  const PendingNorm& norm = features.norm;
  return (features.dtype == DType::f16 || features.dtype == DType::bf16) && features.channels % 8 == 0 &&
         features.channels <= kMostChannels && aligned(features.values, 16) && aligned(masks, 8) &&
         aligned(norm.center, 16) && aligned(norm.factor, 16) && aligned(norm.shift, 16);
}

void accumulate_mask_scores_mma(const Stream& stream, float* scores, const ConvInput& features, const float* masks,
                                const float* importance, const RegionPlaces& places, int64_t prompts) {
  const Launch how{"mask_scores_mma", unsigned(divide_up(places.voxels, kVoxels)), kThreads,
                   mask_bytes(features.channels) + kVoxels * kScorePitch * int64_t(sizeof(float))};
  with_form(features, [&](auto element, auto runs) {
    using T = decltype(element);
    launch(stream, how, mask_scores_mma_kernel<T, runs()>, scores, static_cast<const T*>(features.values),
           features.norm, int(features.channels), masks, importance, places, prompts);
  });
}

void mask_bits_mma(const Stream& stream, uint32_t* bits, const ConvInput& features, const float* masks, int64_t voxels,
                   int64_t prompts) {
  const Launch how{"mask_bits_mma", unsigned(divide_up(voxels, kVoxels)), kThreads,
                   mask_bytes(features.channels) + kWarps * kPrompts * kBitPitch * int64_t(sizeof(float))};
  with_form(features, [&](auto element, auto runs) {
    using T = decltype(element);
    launch(stream, how, mask_bits_mma_kernel<T, runs()>, bits, static_cast<const T*>(features.values), features.norm,
           int(features.channels), masks, voxels, prompts);
  });
}

}  // namespace sat::cuda
