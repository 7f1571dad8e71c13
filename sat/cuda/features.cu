// What follows a convolution and what reads its result elsewhere: pending norms from statistics, final values, pooling.
#include <cmath>

#include "sat/cuda/device/half_types.cuh"

namespace sat::cuda {

namespace {

// ---- norms from statistics -----------------------------------------------------------------------------------------

/// Statistics in f64, merged by Chan's formula.
struct Merged {
  double count, mean, m2;
};
__device__ Merged merged(const Merged& a, const Merged& b) {
  if (b.count == 0) return a;
  const double count = a.count + b.count, apart = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + apart * share, a.m2 + b.m2 + apart * apart * a.count * share};
}

constexpr int kSlotChannels = 4, kSlotParts = 256;  // of a block's threads
constexpr int kNotFinite = 1, kBeyondHalf = 2;

/// A channel's pending norm, where its statistics are known.
struct PendingNorms {
  float *center, *factor, *shift;
  const float *gain, *bias;
  float eps;
  bool half;
  int* trouble;

  __device__ void set(int64_t c, const Merged& all) const {
    const double variance = all.m2 / all.count, deviation = sqrt(variance);
    const double factor_of = double(gain[c]) / sqrt(variance + double(eps));
    center[c] = float(all.mean);
    factor[c] = float(factor_of);
    shift[c] = float(double(bias[c]) - (all.mean - double(center[c])) * factor_of);  // what rounding the mean left
    if (!isfinite(all.mean) || !isfinite(variance)) {
      atomicMax(trouble, kNotFinite);
    } else if (half && !(fabs(all.mean) + 8 * deviation <= double(kLargestF16))) {
      atomicMax(trouble, kBeyondHalf);
    }
  }
};

/// Merges the slots of each channel.
///   slots [count, channels]
/// One block four channels, so that it reads 48 contiguous bytes a slot; 256 threads a channel. Thread p merges slots
/// p, p + 256, ... in order, then a tree over the threads: the same order on every device. Traffic: 1 read of slots.
__global__ void __launch_bounds__(kSlotChannels* kSlotParts)
    finish_norm_kernel(const PendingNorms norms, const Slot* slots, int64_t count, int64_t channels) {
  __shared__ Merged parts[kSlotParts][kSlotChannels];
  const int part = int(threadIdx.y);
  const int64_t c = int64_t(blockIdx.x) * kSlotChannels + threadIdx.x;
  Merged all{};
  for (int64_t i = part; i < count && c < channels; i += kSlotParts) {
    const Slot slot = slots[i * channels + c];
    all = merged(all, {slot.count, slot.mean, slot.m2});
  }
  parts[part][threadIdx.x] = all;
  for (int half = kSlotParts / 2; half > 0; half /= 2) {
    __syncthreads();
    if (part < half) {
      all = merged(all, parts[part + half][threadIdx.x]);
      parts[part][threadIdx.x] = all;
    }
  }
  if (part == 0 && c < channels) norms.set(c, all);
}

// ---- final values --------------------------------------------------------------------------------------------------

constexpr int kThreads = 256;

/// y[v, c] = the final value of x[v, c]. One thread kWidth neighbours; y may be x. Traffic: 1 read, 1 write.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    finish_features_kernel(float* y, const ConvInput x, int64_t runs, int64_t runs_a_voxel) {
  const int64_t run = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (run >= runs) return;
  const int64_t c = run % runs_a_voxel * kWidth;
  float values[kWidth];
  load_run<T>(values, static_cast<const T*>(x.values) + run * kWidth);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) values[i] = final_value(values[i], x.norm, c + i);
  store_run<float>(y + run * kWidth, values);
}

// ---- pooling -------------------------------------------------------------------------------------------------------

constexpr int kPoolRuns = 16, kPoolRows = 32;  // of a block's threads: along the channels, and rows of the pooled block

/// y [H/k, W/k, D/k, C] = means of the final values over blocks of k x k x k voxels.
/// One block an output voxel and 16 runs of kWidth channels. Thread (run, r) sums rows r, r + 32, ... of the k * k rows
/// of k voxels, each row by itself, and the 32 sums are added in order: no f32 sum is longer than 32. Neighbouring
/// threads read neighbouring channels. Traffic: 1 read of x.
template <class T, int kWidth>
__global__ void __launch_bounds__(kPoolRuns* kPoolRows)
    avg_pool3d_kernel(float* y, const ConvInput x, int64_t W, int64_t D, int k) {
  __shared__ float parts[kPoolRows][kPoolRuns * kWidth];
  const int64_t c = (int64_t(blockIdx.y) * kPoolRuns + threadIdx.x) * kWidth;
  const int64_t od = blockIdx.x % (D / k), ow = blockIdx.x / (D / k) % (W / k), oh = blockIdx.x / (D / k) / (W / k);
  const bool inside = c < x.channels;

  float sum[kWidth] = {}, center[kWidth] = {}, factor[kWidth] = {}, shift[kWidth] = {};
  if (inside && x.norm.center != nullptr) {
    load_run<float>(center, x.norm.center + c);
    load_run<float>(factor, x.norm.factor + c);
    load_run<float>(shift, x.norm.shift + c);
  }
  for (int row = int(threadIdx.y); row < k * k && inside; row += kPoolRows) {
    const int64_t first = ((oh * k + row / k) * W + ow * k + row % k) * D + od * k;
    const T* from = static_cast<const T*>(x.values) + first * x.channels + c;
    float row_sum[kWidth] = {};
#pragma unroll 4
    for (int d = 0; d < k; ++d, from += x.channels) {
      float values[kWidth];
      load_run<T>(values, from);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        row_sum[i] +=
            x.norm.center == nullptr ? values[i] : normalised(values[i], center[i], factor[i], shift[i], x.norm.slope);
      }
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] += row_sum[i];
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) parts[threadIdx.y][threadIdx.x * kWidth + i] = sum[i];
  __syncthreads();
  if (threadIdx.y > 0 || !inside) return;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    for (int part = 1; part < kPoolRows; ++part) sum[i] += parts[part][threadIdx.x * kWidth + i];
    sum[i] /= float(k) * float(k) * float(k);
  }
  store_run<float>(y + blockIdx.x * x.channels + c, sum);
}

/// Whether a voxel's channels fall into runs of four that memory moves at once.
bool in_fours(const ConvInput& x) { return x.channels % 4 == 0; }

}  // namespace

void finish_norm(const Queue& queue, float* center, float* factor, float* shift, const Slot* slots, int64_t count,
                 int64_t channels, const float* gain, const float* bias, float eps, bool half, int* trouble) {
  const PendingNorms norms{center, factor, shift, gain, bias, eps, half, trouble};
  const dim3 grid(unsigned(divide_up(channels, kSlotChannels))), block(kSlotChannels, kSlotParts);
  launch(queue, {"finish_norm", grid, block}, finish_norm_kernel, norms, slots, count, channels);
}

void finish_features(const Queue& queue, float* y, const ConvInput& x, int64_t voxels) {
  const auto run = [&](auto kernel, int64_t width) {
    const int64_t runs_a_voxel = x.channels / width, runs = voxels * runs_a_voxel;
    launch(queue, {"finish_features", dim3(unsigned(divide_up(runs, kThreads))), dim3(kThreads)}, kernel, y, x, runs,
           runs_a_voxel);
  };
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    if (in_fours(x)) {
      run(finish_features_kernel<T, 4>, 4);
    } else {
      run(finish_features_kernel<T, 1>, 1);
    }
  });
}

void avg_pool3d(const Queue& queue, float* y, const ConvInput& x, const std::array<int64_t, 3>& in_size, int64_t k) {
  SAT_CHECK(k >= 1 && k <= 32, "avg_pool3d: blocks of ", k, " voxels an axis, at most 32 are summed in f32");
  const auto run = [&](auto kernel, int64_t width) {
    const dim3 grid(unsigned((in_size[0] / k) * (in_size[1] / k) * (in_size[2] / k)),
                    unsigned(divide_up(x.channels, kPoolRuns * width)));
    launch(queue, {"avg_pool3d", grid, dim3(kPoolRuns, kPoolRows)}, kernel, y, x, in_size[1], in_size[2], int(k));
  };
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    if (in_fours(x)) {
      run(avg_pool3d_kernel<T, 4>, 4);
    } else {
      run(avg_pool3d_kernel<T, 1>, 1);
    }
  });
}

}  // namespace sat::cuda
