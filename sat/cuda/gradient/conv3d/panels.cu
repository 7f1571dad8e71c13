// What lies around the convolution that a gradient is: the mirrored weight, rounded operands, and where results go.
#include "sat/cuda/gradient/conv3d/conv_gradient.h"
#include "sat/cuda/gradient/feature_value.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;

Launch one_thread_each(const char* name, int64_t elements) {
  return {name, unsigned(divide_up(elements, kThreads)), kThreads};
}

__device__ int64_t element() { return int64_t(blockIdx.x) * kThreads + threadIdx.x; }

/// panels [taps][out][in] in f32, else [taps][rows][columns] of in and out, filled with zeros. One thread an element.
/// Traffic: 1 write, and a read of 4 bytes of the weight, which is small.
template <class T>
__global__ void __launch_bounds__(kThreads)
    mirror_weight_kernel(T* panels, const MirroredWeight m, int64_t rows, int64_t columns, int64_t count) {
  const int64_t at = element();
  if (at >= count) return;
  constexpr bool kWide = sizeof(T) == 4;
  const int64_t column = at % columns, row = at / columns % rows, tap = at / columns / rows;
  const int64_t o = kWide ? row : column, i = kWide ? column : row;
  const int64_t h = m.last[0] - m.stride[0] * (tap / m.taps[2] / m.taps[1]);
  const int64_t w = m.last[1] - m.stride[1] * (tap / m.taps[2] % m.taps[1]);
  const int64_t d = m.last[2] - m.stride[2] * (tap % m.taps[2]);
  const int64_t from = (((o * m.of_in + m.first_in + i) * m.kernel[0] + h) * m.kernel[1] + w) * m.kernel[2] + d;
  panels[at] = o < m.out && i < m.in ? rounded<T>(m.weight[from]) : rounded<T>(0.f);
}

/// One thread a value of the part. Traffic: 1 read of the part, 1 write of its voxels, 1 read of them where it adds.
__global__ void __launch_bounds__(kThreads)
    place_kernel(float* whole, const float* part, bool add, const Placing placing, int64_t count) {
  const int64_t i = element();
  if (i >= count) return;
  const int64_t c = i % placing.channels, voxel = i / placing.channels;
  const auto [h, w, d] = placing.part;
  const int64_t at_h = placing.first[0] + placing.step[0] * (voxel / d / w % h);
  const int64_t at_w = placing.first[1] + placing.step[1] * (voxel / d % w);
  const int64_t at_d = placing.first[2] + placing.step[2] * (voxel % d);
  const int64_t line = (voxel / d / w / h * placing.size[0] + at_h) * placing.size[1] + at_w;
  float& to = whole[(line * placing.size[2] + at_d) * placing.channels + c];
  const float value = part ? part[i] : 0.f;
  to = add ? to + value : value;
}

/// to = final values of x. One thread a value. Traffic: 1 read, 1 write.
__global__ void __launch_bounds__(kThreads) round_features_kernel(__nv_bfloat16* to, const ConvInput x, int64_t count) {
  const int64_t i = element();
  if (i < count) to[i] = rounded<__nv_bfloat16>(final_value(raw_value(x, i), x.norm, i % x.channels));
}

}  // namespace

void mirror_weight(const Stream& stream, void* panels, DType type, const MirroredWeight& mirrored) {
  const int64_t taps = mirrored.taps[0] * mirrored.taps[1] * mirrored.taps[2];
  const auto run = [&](auto element, int64_t rows, int64_t columns) {
    using T = decltype(element);
    launch(stream, one_thread_each("mirror_weight", taps * rows * columns), mirror_weight_kernel<T>,
           static_cast<T*>(panels), mirrored, rows, columns, taps * rows * columns);
  };
  if (type == DType::f32) return run(float{}, mirrored.out, mirrored.in);
  run(__nv_bfloat16{}, pad16(mirrored.in), pad16(mirrored.out));
}

void round_features(const Stream& stream, void* to, const ConvInput& x, int64_t count) {
  launch(stream, one_thread_each("round_features", count), round_features_kernel, static_cast<__nv_bfloat16*>(to), x,
         count);
}

void place(const Stream& stream, float* whole, const float* part, bool add, const Placing& placing) {
  const int64_t count = placing.batch * placing.part[0] * placing.part[1] * placing.part[2] * placing.channels;
  launch(stream, one_thread_each("place", count), place_kernel, whole, part, add, placing, count);
}

}  // namespace sat::cuda
