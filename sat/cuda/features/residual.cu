// What residual blocks do beside their convolutions: statistics of values that are there, and the sum of two volumes
// whose norms are pending.
#include "sat/cuda/backend.h"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/moments.cuh"

namespace sat::cuda {

namespace {

constexpr int kChannels = 32, kRows = 8;  // of a block's threads
constexpr int64_t kVoxels = 512;          // that a block counts, 64 a thread
constexpr int kThreads = 256;

/// partials [runs of kVoxels voxels][channels] of x [voxels, channels].
/// One block a run and 32 channels; thread (c, r) takes voxels r, r + 8, ...: their mean, then their deviations from
/// it, and the eight parts are merged in order. No f32 sum is longer than 64. Traffic: x once, and once more from the
/// caches.
__global__ void __launch_bounds__(kChannels* kRows)
    channel_moments_kernel(PartialMoments* partials, const float* x, int64_t voxels, int64_t channels) {
  __shared__ PartialMoments parts[kRows][kChannels];
  const int row = int(threadIdx.y);
  const int64_t c = int64_t(blockIdx.y) * kChannels + threadIdx.x, run = blockIdx.x;
  const int64_t first = run * kVoxels, last = min(voxels, first + kVoxels);
  PartialMoments mine{0, 0, 0};
  if (c < channels) {
    for (int64_t v = first + row; v < last; v += kRows) mine.count += 1, mine.mean += x[v * channels + c];
    if (mine.count > 0) mine.mean /= mine.count;
    for (int64_t v = first + row; v < last; v += kRows) {
      const float apart = x[v * channels + c] - mine.mean;
      mine.m2 = fmaf(apart, apart, mine.m2);
    }
  }
  parts[row][threadIdx.x] = mine;
  __syncthreads();
  if (row > 0 || c >= channels) return;
  for (int part = 1; part < kRows; ++part) mine = merged(mine, parts[part][threadIdx.x]);
  partials[run * channels + c] = mine;
}

/// y = leaky_relu(final a + final b). One thread kWidth neighbours; y may lie over either. Traffic: 2 reads, 1 write.
template <class A, class B, int kWidth>
__global__ void __launch_bounds__(kThreads)
    sum_features_kernel(float* y, const ConvInput a, const ConvInput b, int64_t runs, float slope) {
  const int64_t run = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (run >= runs) return;
  const int64_t c = run % (a.channels / kWidth) * kWidth;
  float sums[kWidth], others[kWidth];
  load_run<A>(sums, static_cast<const A*>(a.values) + run * kWidth);
  load_run<B>(others, static_cast<const B*>(b.values) + run * kWidth);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const float sum = final_value(sums[i], a.norm, c + i) + final_value(others[i], b.norm, c + i);
    sums[i] = sum < 0 ? slope * sum : sum;
  }
  store_run<float>(y + run * kWidth, sums);
}

}  // namespace

Features CudaBackend::instance_norm(Tensor x, const NormWeights& norm) {
  const int64_t samples = x.shape[0], channels = x.shape[4], voxels = x.numel() / (samples * channels);
  const int64_t runs = divide_up(voxels, kVoxels);
  const Stream& stream = runtime_.stream();
  const Device device = runtime_.device();
  const auto per_channel = [&] { return Tensor({samples, channels}, DType::f32, device); };
  Features result{std::move(x), per_channel(), per_channel(), per_channel(), norm.slope, per_channel()};
  Tensor statistics({runs, channels, 3}, DType::f32, device);
  auto* partials = static_cast<PartialMoments*>(statistics.raw());
  const dim3 grid(unsigned(runs), unsigned(divide_up(channels, kChannels))), block(kChannels, kRows);
  for (int64_t b = 0; b < samples; ++b) {
    launch(stream, {"channel_moments", grid, block}, channel_moments_kernel, partials,
           result.values.address<float>() + b * voxels * channels, voxels, channels);
    const auto of_sample = [&](Tensor& part) { return part.address<float>() + b * channels; };
    pending_norm(stream,
                 {of_sample(result.center), of_sample(result.factor), of_sample(result.shift), of_sample(result.rstd)},
                 partials, runs, channels, norm.gain.address<float>(), norm.bias.address<float>(), norm.eps, false,
                 runtime_.error_flag());
  }
  return result;
}

void CudaBackend::sum_features(Tensor& y, const Features& a, const Features& b, float slope) {
  const Shape& shape = a.values.shape;
  const int64_t channels = shape[4], per_sample = shape[1] * shape[2] * shape[3] * channels;
  const auto run = [&](auto kernel, int64_t sample, int64_t width) {
    const int64_t runs = per_sample / width;
    launch(runtime_.stream(), {"sum_features", dim3(unsigned(divide_up(runs, kThreads))), dim3(kThreads)}, kernel,
           y.address<float>() + sample * per_sample, input_of(a, sample), input_of(b, sample), runs, slope);
  };
  with_element(a.values.dtype, [&](auto first) {
    with_element(b.values.dtype, [&](auto second) {
      using A = decltype(first);
      using B = decltype(second);
      for (int64_t sample = 0; sample < shape[0]; ++sample) {
        if (channels % 4 == 0) {
          run(sum_features_kernel<A, B, 4>, sample, 4);
        } else {
          run(sum_features_kernel<A, B, 1>, sample, 1);
        }
      }
    });
  });
}

}  // namespace sat::cuda
