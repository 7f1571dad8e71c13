// The passes that our convolution makes needless: join, statistics, norm, leaky ReLU.
#include <cuda_fp16.h>

#include "tests/cuda/counts/unfused_chain.h"

namespace sat::test {

using namespace cuda;

namespace {

constexpr int kThreads = 256;
constexpr int64_t kVoxelsPerSlab = 1024, kVoxelsPerThread = 64;

struct alignas(16) Eight {
  __half values[8];
};

unsigned blocks_for(int64_t threads) { return unsigned(divide_up(threads, kThreads)); }

/// y [voxels, a + b], all counted in runs of 8 channels; a thread a run of y. Traffic: one read, one write.
__global__ void join_kernel(Eight* y, const Eight* a, int64_t runs_a, const Eight* b, int64_t runs_b, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t voxel = i / (runs_a + runs_b), run = i % (runs_a + runs_b);
  y[i] = run < runs_a ? a[voxel * runs_a + run] : b[voxel * runs_b + run - runs_a];
}

/// A block a slab, a thread 8 channels; mean and M2 by Welford. Traffic: one read.
__global__ void moments_kernel(PartialMoments* partials, const Eight* x, int64_t voxels, int64_t runs) {
  const int64_t run = threadIdx.x, first = blockIdx.x * kVoxelsPerSlab;
  const int64_t last = min(first + kVoxelsPerSlab, voxels);
  float mean[8] = {}, m2[8] = {};
  float count = 0;
  for (int64_t v = first; v < last; ++v) {
    const Eight eight = x[v * runs + run];
    count += 1;
    for (int c = 0; c < 8; ++c) {
      const float value = __half2float(eight.values[c]), delta = value - mean[c];
      mean[c] += delta / count;
      m2[c] += delta * (value - mean[c]);
    }
  }
  for (int c = 0; c < 8; ++c) partials[(blockIdx.x * runs + run) * 8 + c] = PartialMoments{count, mean[c], m2[c]};
}

/// A thread the same 8 channels of kVoxelsPerThread voxels, so that it reads the norm once. Traffic: one read, one
/// write.
__global__ void norm_kernel(Eight* y, const Eight* x, PendingNorm norm, int64_t runs, int64_t count) {
  const int64_t threads = int64_t(gridDim.x) * kThreads, first = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  float center[8], factor[8], shift[8];
  for (int c = 0; c < 8; ++c) {
    center[c] = norm.center[first % runs * 8 + c];
    factor[c] = norm.factor[first % runs * 8 + c];
    shift[c] = norm.shift[first % runs * 8 + c];
  }
  for (int64_t i = first; i < count; i += threads) {
    Eight eight = x[i];
    for (int c = 0; c < 8; ++c) {
      eight.values[c] = __float2half((__half2float(eight.values[c]) - center[c]) * factor[c] + shift[c]);
    }
    y[i] = eight;
  }
}

/// A thread 8 channels of a voxel. Traffic: one read, one write.
__global__ void leaky_relu_kernel(Eight* x, float slope, int64_t count) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  Eight eight = x[i];
  for (int c = 0; c < 8; ++c) {
    const float value = __half2float(eight.values[c]);
    eight.values[c] = __float2half(value < 0 ? slope * value : value);
  }
  x[i] = eight;
}

}  // namespace

void join_channels(const Stream& stream, void* y, const void* a, int64_t channels_a, const void* b, int64_t channels_b,
                   int64_t voxels) {
  const int64_t count = voxels * (channels_a + channels_b) / 8;
  launch(stream, {"join", blocks_for(count), kThreads}, join_kernel, static_cast<Eight*>(y),
         static_cast<const Eight*>(a), channels_a / 8, static_cast<const Eight*>(b), channels_b / 8, count);
}

int64_t moments_partials(int64_t voxels) { return divide_up(voxels, kVoxelsPerSlab); }

void channel_moments(const Stream& stream, PartialMoments* partials, const void* x, int64_t voxels, int64_t channels) {
  launch(stream, {"moments", unsigned(moments_partials(voxels)), unsigned(channels / 8)}, moments_kernel, partials,
         static_cast<const Eight*>(x), voxels, channels / 8);
}

void apply_norm(const Stream& stream, void* y, const void* x, const PendingNorm& norm, int64_t voxels,
                int64_t channels) {
  const int64_t count = voxels * channels / 8;
  SAT_CHECK(kThreads % (channels / 8) == 0, channels, " channels: a thread would meet more than its 8");
  launch(stream, {"norm", blocks_for(divide_up(count, kVoxelsPerThread)), kThreads}, norm_kernel,
         static_cast<Eight*>(y), static_cast<const Eight*>(x), norm, channels / 8, count);
}

void apply_leaky_relu(const Stream& stream, void* x, float slope, int64_t voxels, int64_t channels) {
  const int64_t count = voxels * channels / 8;
  launch(stream, {"leaky_relu", blocks_for(count), kThreads}, leaky_relu_kernel, static_cast<Eight*>(x), slope, count);
}

}  // namespace sat::test
