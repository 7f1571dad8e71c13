// Scores of the sliding windows: the mask product with squashing and accumulation in its plain form, the importance
// weights, and the mean. The mask product on tensor cores is in scores_mma.cu.
#include <type_traits>

#include "sat/cuda/backend.h"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/scores/scores.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

constexpr int kVoxels = 64;  // a block of mask_scores_kernel
constexpr int kVoxelsAWarp = kVoxels / kWarps;
constexpr int kPrompts = 64;       // of the masks that are held at once
constexpr int kMaskChannels = 32;  // likewise
constexpr int kMaskPitch = kPrompts + 1;

/// A mask's value as it is multiplied. Unlike features, what leaves the type's range or is not a number stays visible:
/// no statistics would find it.
template <class T>
__device__ float mask_value(float value) {
  if constexpr (std::is_same_v<T, __half>) return __half2float(__float2half_rn(value));
  return widen(rounded<T>(value));
}

/// Feature rows in shared memory: a multiple of 4 channels, so that they are read 16 bytes at a time.
__host__ __device__ int64_t feature_pitch(int64_t channels) { return (channels + 3) / 4 * 4; }

/// scores [.., N] += importance * tanh(l / 2), l = features . masks, over the voxels of a region.
///   features [.., C] f32, f16 or bf16; masks f32 [N, C]
/// A block takes 64 voxels: their final features are read once and stay in shared memory, while the masks pass by in
/// tiles of 64 prompts x 32 channels. A warp has 8 voxels, a lane the prompts lane and lane + 32: features are one
/// broadcast for the warp, masks and scores are 128 contiguous bytes. Logits never leave the registers. Half features
/// and their masks are rounded to their type before they are multiplied; sums run over channels in order, in f32, so a
/// logit depends on its voxel and its prompt alone. tanh as the C library has it.
/// Traffic: 1 read of the features, 1 read and 1 write of the scores, the masks once a block (from the L2 cache).
template <class T>
__global__ void __launch_bounds__(kThreads)
    mask_scores_kernel(float* scores, const T* features, const PendingNorm norm, int64_t channels, const float* masks,
                       const float* importance, const RegionPlaces places, int64_t prompts) {
  extern __shared__ float4 shared[];
  float* feature = reinterpret_cast<float*>(shared);  // [kVoxels][pitch]
  float(*mask)[kMaskPitch] = reinterpret_cast<float(*)[kMaskPitch]>(feature + kVoxels * feature_pitch(channels));
  const int64_t pitch = feature_pitch(channels);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t first = blockIdx.x * kVoxels + warp * kVoxelsAWarp;  // of the warp's voxels
  feature += warp * kVoxelsAWarp * pitch;

  for (int v = 0; v < kVoxelsAWarp; ++v) {
    const uint32_t voxel = min(first + v, places.voxels - 1);
    const T* from = features + BoxVoxel(places, voxel).in(places.features) * channels;
    for (int64_t c = lane; c < pitch; c += 32) {
      feature[v * pitch + c] = c < channels ? widen(rounded<T>(final_value(widen(from[c]), norm, c))) : 0.f;
    }
  }

  for (int64_t prompt = 0; prompt < prompts; prompt += kPrompts) {
    float logit[kVoxelsAWarp][2] = {};
    for (int64_t channel = 0; channel < channels; channel += kMaskChannels) {
      __syncthreads();
      for (int n = warp; n < kPrompts; n += kWarps) {
        const bool there = prompt + n < prompts && channel + lane < channels;
        mask[lane][n] = there ? mask_value<T>(masks[(prompt + n) * channels + channel + lane]) : 0.f;
      }
      __syncthreads();
      const int count = int(min(int64_t(kMaskChannels), pitch - channel));
      for (int c = 0; c < count; c += 4) {
        float left[4], right[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) left[i] = mask[c + i][lane], right[i] = mask[c + i][lane + 32];
#pragma unroll
        for (int v = 0; v < kVoxelsAWarp; ++v) {
          const float4 x = *reinterpret_cast<const float4*>(feature + v * pitch + channel + c);
          logit[v][0] = fmaf(x.w, left[3], fmaf(x.z, left[2], fmaf(x.y, left[1], fmaf(x.x, left[0], logit[v][0]))));
          logit[v][1] = fmaf(x.w, right[3], fmaf(x.z, right[2], fmaf(x.y, right[1], fmaf(x.x, right[0], logit[v][1]))));
        }
      }
    }
#pragma unroll
    for (int v = 0; v < kVoxelsAWarp; ++v) {
      if (first + v >= places.voxels) break;
      const BoxVoxel voxel(places, first + v);
      const float weight = importance[voxel.in(places.importance)];
      float* score = scores + voxel.in(places.scores) * prompts + prompt;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int n = lane + 32 * half;
        if (prompt + n < prompts) score[n] += weight * tanhf(0.5f * logit[v][half]);
      }
    }
  }
}

constexpr int kBitVoxels = 32;  // a block of mask_bits_kernel: one word a prompt

/// bits [N][ceil(voxels / 32)] of features . masks > 0.
///   features [voxels, C]; masks f32 [N, C]
/// A block takes 32 voxels: their final features stay in shared memory, in rows of an odd length so that the lanes of
/// a warp, one a voxel, read them side by side. A warp takes every eighth prompt and ballots its word. The same sums
/// in the same order as mask_scores_kernel. Traffic: 1 read of the features, 4 bytes a word, the masks once a block.
template <class T>
__global__ void __launch_bounds__(kThreads)
    mask_bits_kernel(uint32_t* bits, const T* features, const PendingNorm norm, int64_t channels, const float* masks,
                     int64_t voxels, int64_t prompts) {
  extern __shared__ float4 shared[];
  float* feature = reinterpret_cast<float*>(shared);  // [kBitVoxels][pitch]
  const int64_t pitch = channels | 1;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t first = int64_t(blockIdx.x) * kBitVoxels;
  for (int v = warp; v < kBitVoxels; v += kWarps) {
    const T* from = features + min(first + v, voxels - 1) * channels;
    for (int64_t c = lane; c < channels; c += 32) {
      feature[v * pitch + c] = widen(rounded<T>(final_value(widen(from[c]), norm, c)));
    }
  }
  __syncthreads();
  for (int64_t n = warp; n < prompts; n += kWarps) {
    float logit = 0;
    for (int64_t c = 0; c < channels; ++c) {
      logit = fmaf(feature[lane * pitch + c], mask_value<T>(masks[n * channels + c]), logit);
    }
    const uint32_t word = __ballot_sync(~0u, logit > 0 && first + lane < voxels);
    if (lane == 0) bits[n * gridDim.x + blockIdx.x] = word;
  }
}

/// weights += importance over the voxels of a region: one thread a voxel. Traffic: 2 reads, 1 write.
__global__ void __launch_bounds__(kThreads)
    accumulate_importance_kernel(float* weights, const float* importance, const RegionPlaces places) {
  const uint32_t at = blockIdx.x * kThreads + threadIdx.x;
  if (at >= places.voxels) return;
  const BoxVoxel voxel(places, at);
  weights[voxel.in(places.scores)] += importance[voxel.in(places.importance)];
}

constexpr int kMeanVoxels = 64;  // a block of divide_rows_kernel

/// scores /= weights over runs of `span` voxels, one run every `pitch` voxels. A block takes 64 voxels of a run and
/// walks their scores as they lie. Traffic: 1 read and 1 write of the scores, 1 read of the weights.
__global__ void __launch_bounds__(kThreads) divide_rows_kernel(float* scores, const float* weights, int64_t first,
                                                               int64_t pitch, int64_t span, uint32_t prompts) {
  const uint32_t pieces = uint32_t((span + kMeanVoxels - 1) / kMeanVoxels);
  const int64_t from = int64_t(blockIdx.x % pieces) * kMeanVoxels;
  const int64_t voxel = first + blockIdx.x / pieces * pitch + from;
  const uint32_t count = uint32_t(min(int64_t(kMeanVoxels), span - from)) * prompts;
  scores += voxel * prompts;
  for (uint32_t i = threadIdx.x; i < count; i += kThreads) scores[i] /= weights[voxel + i / prompts];
}

}  // namespace

void accumulate_mask_scores(const Stream& stream, float* scores, const ConvInput& features, const float* masks,
                            const float* importance, const ScoreSizes& sizes, const ScoreRegion& region) {
  const RegionPlaces places = places_of(sizes, region);
  if (mask_scores_mma_fits(features, masks)) {
    return accumulate_mask_scores_mma(stream, scores, features, masks, importance, places, sizes.prompts);
  }
  const Launch how{"mask_scores", unsigned(divide_up(places.voxels, kVoxels)), kThreads,
                   (kVoxels * feature_pitch(features.channels) + kMaskChannels * kMaskPitch) * int64_t(sizeof(float))};
  with_element(features.dtype, [&](auto element) {
    using T = decltype(element);
    launch(stream, how, mask_scores_kernel<T>, scores, static_cast<const T*>(features.values), features.norm,
           features.channels, masks, importance, places, sizes.prompts);
  });
}

void mask_bits(const Stream& stream, uint32_t* bits, const ConvInput& features, const float* masks, int64_t voxels,
               int64_t prompts) {
  if (mask_scores_mma_fits(features, masks)) return mask_bits_mma(stream, bits, features, masks, voxels, prompts);
  const Launch how{"mask_bits", unsigned(divide_up(voxels, kBitVoxels)), kThreads,
                   kBitVoxels * (features.channels | 1) * int64_t(sizeof(float))};
  with_element(features.dtype, [&](auto element) {
    using T = decltype(element);
    launch(stream, how, mask_bits_kernel<T>, bits, static_cast<const T*>(features.values), features.norm,
           features.channels, masks, voxels, prompts);
  });
}

void CudaBackend::accumulate_mask_scores(Tensor& scores, const Features& features, const Tensor& masks,
                                         const Tensor& importance, const ScoreRegion& region) {
  const ScoreSizes sizes{grid_of(scores.shape), grid_of(features.values.shape, 1), grid_of(importance.shape),
                         masks.shape[1], masks.shape[0]};
  cuda::accumulate_mask_scores(runtime_.stream(), scores.address<float>(), input_of(features, 0),
                               masks.address<float>(), importance.address<float>(), sizes, region);
}

void CudaBackend::accumulate_importance(Tensor& weights, const Tensor& importance, const ScoreRegion& region) {
  const RegionPlaces places = places_of({grid_of(weights.shape), {}, grid_of(importance.shape), 0, 1}, region);
  launch(runtime_.stream(), {"accumulate_importance", unsigned(divide_up(places.voxels, kThreads)), kThreads},
         accumulate_importance_kernel, weights.address<float>(), importance.address<float>(), places);
}

void CudaBackend::divide_rows(Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) {
  int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= weights.shape[a];
  for (int a = axis + 1; a < 3; ++a) inner *= weights.shape[a];
  const int64_t span = (last - first) * inner;
  launch(runtime_.stream(), {"divide_rows", unsigned(outer * divide_up(span, kMeanVoxels)), kThreads},
         divide_rows_kernel, scores.address<float>(), weights.address<float>(), first * inner,
         weights.shape[axis] * inner, span, uint32_t(scores.shape[3]));
}

}  // namespace sat::cuda
