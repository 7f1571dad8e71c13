// The mask loss: logits of some voxels and prompts at a time, in registers, which are made again for the gradient.
#include <cmath>

#include "sat/cuda/backend.h"
#include "sat/cuda/gradient/feature_value.cuh"
#include "sat/cuda/gradient/piece_sums.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kVoxels = 64, kVoxelsAWarp = kVoxels / kWarps;  // whose logits a block makes at once
constexpr int kPrompts = 32, kPromptsAWarp = kPrompts / kWarps;
constexpr int kMaskPitch = kPrompts + 1;
constexpr int64_t kMaskPieces = 1024;  // of a sample's voxels
constexpr int kMostChannels = 512;

/// Voxels of a piece, by the volume's size alone.
int64_t piece_voxels(int64_t voxels) {
  return divide_up(std::max<int64_t>(1, divide_up(voxels, kMaskPieces)), kVoxels) * kVoxels;
}

/// One sample and 32 of its prompts.
struct MaskProblem {
  ConvInput features;
  const float* masks;             // [N, C], from the first of these prompts on
  const uint8_t* bits;            // [voxels, bytes]
  int64_t first_prompt, prompts;  // of these; how many there are
  int64_t bytes;                  // of a voxel's bits
  int64_t voxels, piece;          // of the sample, and of a block

  __device__ bool wanted(int64_t voxel, int64_t n) const {
    return (bits[voxel * bytes + (first_prompt + n) / 8] >> ((first_prompt + n) % 8) & 1) != 0;
  }
};

/// Rows of shared memory: a multiple of 4 channels, so that they are read 16 bytes at a time.
__host__ __device__ int64_t feature_pitch(int64_t channels) { return (channels + 3) / 4 * 4; }

/// masks^T [pitch][kMaskPitch] in shared memory, zeros where there is none.
__device__ void load_masks(float* to, const MaskProblem& problem) {
  const int64_t channels = problem.features.channels, pitch = feature_pitch(channels);
  for (int64_t i = threadIdx.x; i < kPrompts * pitch; i += kThreads) {
    const int64_t n = i / pitch, c = i % pitch;
    to[c * kMaskPitch + n] = n < problem.prompts && c < channels ? problem.masks[n * channels + c] : 0.f;
  }
}

/// Final features [kVoxelsAWarp][pitch] of this warp's voxels, zeros behind the last.
__device__ void load_features(float* to, const MaskProblem& problem, int64_t first) {
  const int64_t channels = problem.features.channels, pitch = feature_pitch(channels);
  const int lane = int(threadIdx.x) % 32;
  for (int v = 0; v < kVoxelsAWarp; ++v) {
    for (int64_t c = lane; c < pitch; c += 32) {
      const bool there = first + v < problem.voxels && c < channels;
      const float raw = there ? raw_value(problem.features, (first + v) * channels + c) : 0.f;
      to[v * pitch + c] = there ? final_value(raw, problem.features.norm, c) : 0.f;
    }
  }
  __syncwarp();
}

/// Logits of this warp's voxels and this lane's prompt, sums over channels in order.
__device__ void logits_of(float (&logit)[kVoxelsAWarp], const float* feature, const float* mask, int64_t pitch) {
  const int lane = int(threadIdx.x) % 32;
#pragma unroll
  for (float& value : logit) value = 0;
  for (int64_t c = 0; c < pitch; c += 4) {
    float of[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) of[i] = mask[(c + i) * kMaskPitch + lane];
#pragma unroll
    for (int v = 0; v < kVoxelsAWarp; ++v) {
      const float4 x = *reinterpret_cast<const float4*>(feature + v * pitch + c);
      logit[v] = fmaf(x.w, of[3], fmaf(x.z, of[2], fmaf(x.y, of[1], fmaf(x.x, of[0], logit[v]))));
    }
  }
}

/// parts [pieces][N][4] of sums of p t, p^2, t and the cross-entropy, over the voxels of a piece.
/// A block takes a piece, 64 voxels at a time: their final features pass through shared memory, a warp has 8 of them,
/// a lane a prompt. A lane sums 8 voxels in f32, these sums in double, and the eight warps' sums are added in order.
/// Traffic: 1 read of the features and the bits, for 32 prompts; masks once a block.
__global__ void __launch_bounds__(kThreads, 2) mask_sums_kernel(double* parts, const MaskProblem problem, int64_t all) {
  extern __shared__ float4 shared[];
  __shared__ double sums_of[kWarps][4][kPrompts];
  const int64_t pitch = feature_pitch(problem.features.channels);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  float* feature = reinterpret_cast<float*>(shared) + warp * kVoxelsAWarp * pitch;
  float* mask = reinterpret_cast<float*>(shared) + kVoxels * pitch;
  load_masks(mask, problem);
  __syncthreads();
  const int64_t begin = blockIdx.x * problem.piece, end = min(begin + problem.piece, problem.voxels);
  double sums[4] = {};
  for (int64_t first = begin + warp * kVoxelsAWarp; first < end; first += kVoxels) {
    __syncwarp();
    load_features(feature, problem, first);
    float logit[kVoxelsAWarp], run[4] = {};
    logits_of(logit, feature, mask, pitch);
#pragma unroll
    for (int v = 0; v < kVoxelsAWarp; ++v) {
      if (first + v >= end || lane >= problem.prompts) break;
      const float small = expf(-fabsf(logit[v])), below = __fdividef(1, 1 + small);
      const float p = logit[v] < 0 ? small * below : below;
      const bool t = problem.wanted(first + v, lane);
      run[0] += t ? p : 0.f;
      run[1] += p * p;
      run[2] += t ? 1.f : 0.f;
      run[3] += fmaxf(logit[v], 0.f) - (t ? logit[v] : 0.f) + log1pf(small);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += double(run[i]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) sums_of[warp][i][lane] = sums[i];
  __syncthreads();
  const int i = int(threadIdx.x) / kPrompts, n = int(threadIdx.x) % kPrompts;
  if (i >= 4 || n >= problem.prompts) return;
  double sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += sums_of[w][i][n];
  parts[(blockIdx.x * all + problem.first_prompt + n) * 4 + i] = sum;
}

/// dfeatures [voxels, C] (add: itself +) = sum of d * mask, and parts [pieces][N][C] of dmask = sum of d * feature,
/// where d = p (1 - p) (k0 t + k1 p) + k2 (p - t), k = factors [N, 3], from the first of these prompts on.
/// Blocks and warps as in mask_sums_kernel. d passes through shared memory: a warp takes dfeatures of its own voxels, a
/// lane every 32nd channel, prompts in order; then of four prompts dmasks, a lane every 32nd channel, voxels in order,
/// in registers until the piece is done. Traffic: 1 read of the features and the bits, 1 write of dfeatures, and 1 read
/// where it adds, for 32 prompts.
template <int kRuns>
__global__ void __launch_bounds__(kThreads, 2)
    mask_gradient_kernel(float* dfeatures, bool add, float* parts, const MaskProblem problem, const float* factors,
                         int64_t all) {
  extern __shared__ float4 shared[];
  __shared__ __align__(16) float slopes[kVoxels][kPrompts];
  const int64_t channels = problem.features.channels, pitch = feature_pitch(channels);
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const float* features = reinterpret_cast<float*>(shared);
  float* feature = reinterpret_cast<float*>(shared) + warp * kVoxelsAWarp * pitch;
  float* mask = reinterpret_cast<float*>(shared) + kVoxels * pitch;
  load_masks(mask, problem);
  float k[3] = {};
  if (lane < problem.prompts) {
#pragma unroll
    for (int i = 0; i < 3; ++i) k[i] = factors[3 * lane + i];
  }
  const int64_t begin = blockIdx.x * problem.piece, end = min(begin + problem.piece, problem.voxels);
  float dmasks[kPromptsAWarp][kRuns] = {};
  for (int64_t start = begin; start < end; start += kVoxels) {
    const int64_t first = start + warp * kVoxelsAWarp;
    __syncthreads();
    load_features(feature, problem, first);
    float logit[kVoxelsAWarp];
    logits_of(logit, feature, mask, pitch);
#pragma unroll
    for (int v = 0; v < kVoxelsAWarp; ++v) {
      const bool there = first + v < end && lane < problem.prompts;
      const float t = there && problem.wanted(first + v, lane) ? 1.f : 0.f;
      const float small = expf(-fabsf(logit[v])), below = __fdividef(1, 1 + small);
      const float p = logit[v] < 0 ? small * below : below, rest = logit[v] < 0 ? below : small * below;
      // p - t without cancellation: -(1 - p) where t is 1.
      const float d = p * rest * fmaf(k[0], t, k[1] * p) + k[2] * (t > 0 ? -rest : p);
      slopes[warp * kVoxelsAWarp + v][lane] = there ? d : 0.f;
    }
    __syncwarp();
    if (dfeatures) {
      for (int64_t c = lane; c < channels; c += 32) {
        float sums[kVoxelsAWarp] = {};
        for (int n = 0; n < kPrompts; n += 4) {
          float of[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) of[i] = mask[c * kMaskPitch + n + i];
#pragma unroll
          for (int v = 0; v < kVoxelsAWarp; ++v) {
            const float4 d = *reinterpret_cast<const float4*>(&slopes[warp * kVoxelsAWarp + v][n]);
            sums[v] = fmaf(d.w, of[3], fmaf(d.z, of[2], fmaf(d.y, of[1], fmaf(d.x, of[0], sums[v]))));
          }
        }
#pragma unroll
        for (int v = 0; v < kVoxelsAWarp; ++v) {
          if (first + v >= end) break;
          float& to = dfeatures[(first + v) * channels + c];
          to = add ? to + sums[v] : sums[v];
        }
      }
    }
    __syncthreads();
    for (int v = 0; v < kVoxels; ++v) {
      const float4 d = *reinterpret_cast<const float4*>(&slopes[v][warp * kPromptsAWarp]);
#pragma unroll
      for (int i = 0; i < kRuns; ++i) {
        const int64_t c = lane + 32 * i;
        if (c >= channels) break;
        const float x = features[v * pitch + c];
        dmasks[0][i] = fmaf(d.x, x, dmasks[0][i]);
        dmasks[1][i] = fmaf(d.y, x, dmasks[1][i]);
        dmasks[2][i] = fmaf(d.z, x, dmasks[2][i]);
        dmasks[3][i] = fmaf(d.w, x, dmasks[3][i]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kPromptsAWarp; ++n) {
    const int64_t prompt = warp * kPromptsAWarp + n;
    if (prompt >= problem.prompts) break;
#pragma unroll
    for (int i = 0; i < kRuns; ++i) {
      const int64_t c = lane + 32 * i;
      if (c < channels) parts[(blockIdx.x * all + problem.first_prompt + prompt) * channels + c] = dmasks[n][i];
    }
  }
}

int64_t shared_bytes(int64_t channels) {
  return feature_pitch(channels) * (kVoxels + kMaskPitch) * int64_t(sizeof(float));
}

/// Calls body(problem) for each 32 prompts of one sample.
template <class Body>
void for_prompts(const Features& features, const Tensor& masks, const Tensor& bits, int64_t sample, const Body& body) {
  const Shape& grid = features.values.shape;
  const int64_t prompts = masks.shape[1], channels = grid[4];
  MaskProblem problem{};
  problem.features = input_of(features, sample);
  problem.bytes = bits.shape[4];
  problem.voxels = grid[1] * grid[2] * grid[3];
  problem.piece = piece_voxels(problem.voxels);
  problem.bits = bits.address<uint8_t>() + sample * problem.voxels * problem.bytes;
  SAT_CHECK(channels <= kMostChannels, "mask_loss: features of ", channels, " channels, at most ", kMostChannels);
  for (int64_t first = 0; first < prompts; first += kPrompts) {
    problem.first_prompt = first;
    problem.prompts = std::min<int64_t>(kPrompts, prompts - first);
    problem.masks = masks.address<float>() + (sample * prompts + first) * channels;
    body(problem);
  }
}

}  // namespace

std::vector<std::array<double, 4>> CudaBackend::mask_sums(const Features& features, const Tensor& masks,
                                                          const Tensor& bits) {
  const Stream& stream = runtime_.stream();
  const Shape& grid = features.values.shape;
  const int64_t prompts = masks.shape[1], voxels = grid[1] * grid[2] * grid[3];
  const int64_t pieces = divide_up(voxels, piece_voxels(voxels));
  Tensor parts = doubles({pieces, prompts, 4}, masks.device), sums = doubles({grid[0], prompts, 4}, masks.device);
  auto *of_pieces = static_cast<double*>(parts.raw()), *of_samples = static_cast<double*>(sums.raw());
  for (int64_t b = 0; b < grid[0]; ++b) {
    for_prompts(features, masks, bits, b, [&](const MaskProblem& problem) {
      launch(stream, {"mask_sums", unsigned(pieces), kThreads, shared_bytes(grid[4])}, mask_sums_kernel, of_pieces,
             problem, prompts);
    });
    add_pieces(stream, of_samples + b * prompts * 4, of_pieces, {pieces, prompts * 4, prompts * 4});
  }
  std::vector<std::array<double, 4>> result(size_t(grid[0] * prompts));
  if (!stream.dry && !result.empty()) runtime_.download(result.data(), sums.raw(), sums.bytes());
  return result;
}

void CudaBackend::mask_gradient(Tensor& dfeatures, bool add, Tensor& dmasks, const Features& features,
                                const Tensor& masks, const Tensor& bits, const Tensor& factors) {
  const Stream& stream = runtime_.stream();
  const Shape& grid = features.values.shape;
  const int64_t prompts = masks.shape[1], channels = grid[4], voxels = grid[1] * grid[2] * grid[3];
  const int64_t pieces = divide_up(voxels, piece_voxels(voxels));
  Tensor parts({pieces, prompts, channels}, DType::f32, masks.device);
  for (int64_t b = 0; b < grid[0]; ++b) {
    for_prompts(features, masks, bits, b, [&](const MaskProblem& problem) {
      const auto run = [&](auto kernel) {
        launch(stream, {"mask_gradient", unsigned(pieces), kThreads, shared_bytes(channels)}, kernel,
               dfeatures.empty() ? nullptr : dfeatures.address<float>() + b * voxels * channels,
               add || problem.first_prompt > 0, parts.address<float>(), problem,
               factors.address<float>() + (b * prompts + problem.first_prompt) * 3, prompts);
      };
      if (channels <= 64) return run(mask_gradient_kernel<2>);
      if (channels <= 128) return run(mask_gradient_kernel<4>);
      run(mask_gradient_kernel<kMostChannels / 32>);
    });
    add_pieces(stream, dmasks.address<float>() + b * prompts * channels, parts.address<float>(),
               {pieces, prompts * channels, prompts * channels});
  }
}

}  // namespace sat::cuda
