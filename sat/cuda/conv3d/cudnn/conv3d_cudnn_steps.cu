// What surrounds cuDNN's convolution: its input made final and joined, its weights turned, its result's statistics.
#include "sat/cuda/conv3d/cudnn/conv3d_cudnn.h"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/moments.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 32, kVoxels = 8;  // of a block of rows_kernel

/// y [voxels, pitch], channels [first, first + C) = the final values of x [voxels, C]. One thread kWidth neighbours.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    join_kernel(T* y, const ConvInput x, int64_t runs, int64_t pitch, int64_t first) {
  const int64_t run = int64_t(blockIdx.x) * kThreads + threadIdx.x, runs_a_voxel = x.channels / kWidth;
  if (run >= runs) return;
  const int64_t voxel = run / runs_a_voxel, c = run % runs_a_voxel * kWidth;
  float values[kWidth];
  load_run<T>(values, static_cast<const T*>(x.values) + run * kWidth);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) values[i] = final_value(values[i], x.norm, c + i);
  store_run<T>(y + voxel * pitch + first + c, values);
}

/// y [out, 27, in] from f32 [27][in][out] or half [27][pad16(out)][pad16(in0) + pad16(in1)]. One thread a weight.
template <class T>
__global__ void __launch_bounds__(kThreads) turn_kernel(T* y, const Conv conv) {
  const int64_t first = conv.inputs[0].channels, in = first + conv.inputs[1].channels;
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= conv.out * 27 * in) return;
  const int64_t i = at % in, tap = at / in % 27, o = at / in / 27;
  int64_t from = (tap * in + i) * conv.out + o;
  if constexpr (sizeof(T) < 4) {
    const int64_t column = i < first ? i : pad16(first) + i - first;
    from = (tap * pad16(conv.out) + o) * (pad16(first) + pad16(conv.inputs[1].channels)) + column;
  }
  y[at] = static_cast<const T*>(conv.weights)[from];
}

/// Statistics of rows of stored values: one block a row and 32 channels, eight threads a channel, merged in order.
template <class T>
__global__ void __launch_bounds__(kChannels* kVoxels) rows_kernel(const Conv conv) {
  __shared__ PartialMoments parts[kVoxels][kChannels];
  const int64_t row = (conv.first + blockIdx.y) * conv.out_size[1] + blockIdx.x, depth = conv.out_size[2];
  const int64_t o = int64_t(blockIdx.z) * kChannels + threadIdx.x;
  const T* values = static_cast<const T*>(conv.values) + row * depth * conv.out;
  PartialMoments part{};
  for (int64_t d = threadIdx.y; d < depth && o < conv.out; d += kVoxels) join(part, widen(values[d * conv.out + o]));
  parts[threadIdx.y][threadIdx.x] = part;
  __syncthreads();
  if (threadIdx.y > 0 || o >= conv.out) return;
  for (int i = 1; i < kVoxels; ++i) part = merged(part, parts[i][threadIdx.x]);
  conv.partials[row * conv.out + o] = part;
}

}  // namespace

void join_inputs(const Stream& stream, void* y, const Conv& conv) {
  const int64_t voxels = conv.in_size[0] * conv.in_size[1] * conv.in_size[2];
  const int64_t first = conv.inputs[0].channels, in = first + conv.inputs[1].channels;
  with_element(conv.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kWide = int(16 / sizeof(T));
    const bool wide = first % kWide == 0 && in % kWide == 0;
    for (const ConvInput& x : conv.inputs) {
      const int64_t runs = voxels * (x.channels / (wide ? kWide : 1));
      launch(stream, {"cudnn_join", dim3(unsigned(divide_up(runs, kThreads))), dim3(kThreads)},
             wide ? join_kernel<T, kWide> : join_kernel<T, 1>, static_cast<T*>(y), x, runs, in,
             &x == &conv.inputs[0] ? 0 : first);
    }
  });
}

void turn_weights(const Stream& stream, void* y, const Conv& conv) {
  const int64_t count = conv.out * 27 * (conv.inputs[0].channels + conv.inputs[1].channels);
  with_element(conv.inputs[0].dtype, [&](auto element) {
    using T = decltype(element);
    launch(stream, {"cudnn_weights", dim3(unsigned(divide_up(count, kThreads))), dim3(kThreads)}, turn_kernel<T>,
           static_cast<T*>(y), conv);
  });
}

void count_rows(const Stream& stream, const Conv& conv) {
  const dim3 grid(unsigned(conv.out_size[1]), unsigned(conv.last - conv.first),
                  unsigned(divide_up(conv.out, kChannels)));
  with_element(conv.dtype, [&](auto element) {
    launch(stream, {"cudnn_rows", grid, dim3(kChannels, kVoxels)}, rows_kernel<decltype(element)>, conv);
  });
}

}  // namespace sat::cuda
