// What follows a convolution and what reads its result elsewhere: pending norms from statistics, final values, pooling.
#include <cmath>

#include "sat/cuda/backend.h"
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

constexpr int kPartialChannels = 4, kPartialParts = 256;  // of a block's threads
constexpr int kNotFinite = 1, kBeyondHalf = 2;

/// A channel's pending norm, where its statistics are known.
struct PendingNorms {
  NormResult to;
  const float *gain, *bias;
  float eps;
  bool half;
  int* error_flag;

  __device__ void set(int64_t c, const Merged& all) const {
    const double variance = all.m2 / all.count, deviation = sqrt(variance);
    const double root = sqrt(variance + double(eps)), factor = double(gain[c]) / root;
    to.center[c] = float(all.mean);
    to.factor[c] = float(factor);
    to.shift[c] = float(double(bias[c]) - (all.mean - double(to.center[c])) * factor);  // what rounding the mean left
    to.rstd[c] = float(1 / root);
    if (!isfinite(all.mean) || !isfinite(variance)) {
      atomicMax(error_flag, kNotFinite);
    } else if (half && !(fabs(all.mean) + 8 * deviation <= double(kLargestF16))) {
      atomicMax(error_flag, kBeyondHalf);
    }
  }
};

/// Merges the partials of each channel.
///   partials [count, channels]
/// One block four channels, so that it reads 48 contiguous bytes a partial; 256 threads a channel. Thread p merges
/// partials p, p + 256, ... in order, then a tree over the threads: the same order on every device. Traffic: 1 read of
/// partials.
__global__ void __launch_bounds__(kPartialChannels* kPartialParts)
    pending_norm_kernel(const PendingNorms norms, const PartialMoments* partials, int64_t count, int64_t channels) {
  __shared__ Merged parts[kPartialParts][kPartialChannels];
  const int part = int(threadIdx.y);
  const int64_t c = int64_t(blockIdx.x) * kPartialChannels + threadIdx.x;
  Merged all{};
  for (int64_t i = part; i < count && c < channels; i += kPartialParts) {
    const PartialMoments partial = partials[i * channels + c];
    all = merged(all, {partial.count, partial.mean, partial.m2});
  }
  parts[part][threadIdx.x] = all;
  for (int half = kPartialParts / 2; half > 0; half /= 2) {
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
    materialize_kernel(float* y, const ConvInput x, int64_t runs, int64_t runs_a_voxel) {
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
bool in_fours(int64_t channels) { return channels % 4 == 0; }

}  // namespace

ConvInput input_of(const Features& x, int64_t sample) {
  const Shape& shape = x.values.shape;
  const int64_t channels = shape[4], per_sample = shape[1] * shape[2] * shape[3] * channels;
  const auto of_sample = [&](const Tensor& part) { return part.address<float>() + sample * channels; };
  ConvInput input;
  input.values = static_cast<const char*>(x.values.raw()) + sample * per_sample * size_of(x.values.dtype);
  input.dtype = x.values.dtype;
  input.channels = channels;
  if (!x.center.empty()) input.norm = {of_sample(x.center), of_sample(x.factor), of_sample(x.shift), x.slope};
  return input;
}

void pending_norm(const Stream& stream, const NormResult& to, const PartialMoments* partials, int64_t count,
                  int64_t channels, const float* gain, const float* bias, float eps, bool half, int* error_flag) {
  const PendingNorms norms{to, gain, bias, eps, half, error_flag};
  const dim3 grid(unsigned(divide_up(channels, kPartialChannels))), block(kPartialChannels, kPartialParts);
  launch(stream, {"pending_norm", grid, block}, pending_norm_kernel, norms, partials, count, channels);
}

Tensor CudaBackend::materialize(Features x) {
  if (x.center.empty() && x.values.dtype == DType::f32) return x.values;
  const Shape& shape = x.values.shape;
  const bool reuse = x.values.dtype == DType::f32 && x.values.buffer.use_count() == 1 && !x.values.buffer->foreign();
  Tensor y = reuse ? x.values : Tensor(shape, DType::f32, x.values.device);
  const int64_t voxels = shape[1] * shape[2] * shape[3], channels = shape[4];
  const auto run = [&](auto kernel, int64_t sample, int64_t width) {
    const int64_t runs_a_voxel = channels / width, runs = voxels * runs_a_voxel;
    launch(runtime_.stream(), {"materialize", dim3(unsigned(divide_up(runs, kThreads))), dim3(kThreads)}, kernel,
           y.address<float>() + sample * voxels * channels, input_of(x, sample), runs, runs_a_voxel);
  };
  with_element(x.values.dtype, [&](auto element) {
    using T = decltype(element);
    for (int64_t b = 0; b < shape[0]; ++b) {
      if (in_fours(channels)) {
        run(materialize_kernel<T, 4>, b, 4);
      } else {
        run(materialize_kernel<T, 1>, b, 1);
      }
    }
  });
  return y;
}

void CudaBackend::avg_pool3d(Tensor& y, const Features& x, int64_t k) {
  SAT_CHECK(k >= 1 && k <= 32, "avg_pool3d: blocks of ", k, " voxels an axis, at most 32 are summed in f32");
  const Shape& shape = x.values.shape;
  const int64_t channels = shape[4], blocks = (shape[1] / k) * (shape[2] / k) * (shape[3] / k);
  const auto run = [&](auto kernel, int64_t sample, int64_t width) {
    const dim3 grid(unsigned(blocks), unsigned(divide_up(channels, kPoolRuns * width)));
    launch(runtime_.stream(), {"avg_pool3d", grid, dim3(kPoolRuns, kPoolRows)}, kernel,
           y.address<float>() + sample * blocks * channels, input_of(x, sample), shape[2], shape[3], int(k));
  };
  with_element(x.values.dtype, [&](auto element) {
    using T = decltype(element);
    for (int64_t b = 0; b < shape[0]; ++b) {
      if (in_fours(channels)) {
        run(avg_pool3d_kernel<T, 4>, b, 4);
      } else {
        run(avg_pool3d_kernel<T, 1>, b, 1);
      }
    }
  });
}

}  // namespace sat::cuda
