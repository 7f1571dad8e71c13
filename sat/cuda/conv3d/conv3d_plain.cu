// The slowest variant: a 3x3x3 convolution as its definition says. What the others are checked against.
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/moments.cuh"

namespace sat::cuda {

namespace {

constexpr int kChannels = 32, kVoxels = 8;  // of a block's threads

/// Where the weight of (tap, input channel 0 of input i, output o) lies, and how far apart input channels are.
struct WeightRow {
  int64_t at, step;
};
template <class In>
__device__ WeightRow weight_row(const Conv& conv, int64_t tap, int i, int64_t o) {
  if constexpr (sizeof(In) == 4) {
    const int64_t in = conv.inputs[0].channels + conv.inputs[1].channels, before = i == 0 ? 0 : conv.inputs[0].channels;
    return {(tap * in + before) * conv.out + o, conv.out};
  } else {
    const int64_t columns = pad16(conv.inputs[0].channels) + pad16(conv.inputs[1].channels);
    return {(tap * pad16(conv.out) + o) * columns + (i == 0 ? 0 : pad16(conv.inputs[0].channels)), 1};
  }
}

/// One output voxel and channel: 27 taps of every input channel, zeros outside, summed in f32.
template <class In>
__device__ float output(const Conv& conv, int64_t h, int64_t w, int64_t d, int64_t o) {
  const In* weights = static_cast<const In*>(conv.weights);
  float sum = 0;
  for (int tap = 0; tap < 27; ++tap) {
    const int64_t xh = h * conv.stride + tap / 9 - 1, xw = w * conv.stride + tap / 3 % 3 - 1;
    const int64_t xd = d * conv.stride + tap % 3 - 1;
    if (xh < 0 || xw < 0 || xd < 0 || xh >= conv.in_size[0] || xw >= conv.in_size[1] || xd >= conv.in_size[2]) continue;
    for (int i = 0; i < 2; ++i) {
      const ConvInput& input = conv.inputs[size_t(i)];
      if (input.channels == 0) continue;
      const int64_t plane = conv.in_size[1] * conv.in_size[2] * input.channels;
      const In* x = static_cast<const In*>(input.values) + plane_offset(xh, input.ring, plane) +
                    (xw * conv.in_size[2] + xd) * input.channels;
      const WeightRow row = weight_row<In>(conv, tap, i, o);
      for (int64_t c = 0; c < input.channels; ++c) {
        sum = fmaf(final_value(widen(x[c]), input.norm, c), widen(weights[row.at + c * row.step]), sum);
      }
    }
  }
  return sum;
}

/// Planes [first, last) of a convolution, and the statistics of each row of voxels.
///   inputs [H, W, D, C] each, norm on load; values [H', W', D', out]; partials [H', W', out]
/// One block a row of D' voxels and 32 channels: one thread an output, lanes along the channels, eight voxels at a
/// time. A thread joins its outputs to its statistics one by one, and the eight threads of a channel are merged in
/// order. Traffic: every operand from memory or cache, 2 reads a multiplication; the norm is taken 27 * out times.
template <class In, class Out>
__global__ void __launch_bounds__(kChannels* kVoxels) plain_kernel(const Conv conv) {
  __shared__ PartialMoments parts[kVoxels][kChannels];
  const int64_t w = blockIdx.x, h = conv.first + blockIdx.y, o = int64_t(blockIdx.z) * kChannels + threadIdx.x;
  const int64_t depth = conv.out_size[2], row = h * conv.out_size[1] + w;
  Out* values = static_cast<Out*>(conv.values) + row * depth * conv.out;

  PartialMoments part{};
  for (int64_t d = threadIdx.y; d < depth && o < conv.out; d += kVoxels) {
    const float value = output<In>(conv, h, w, d, o);
    values[d * conv.out + o] = rounded<Out>(value);
    join(part, value);
  }
  parts[threadIdx.y][threadIdx.x] = part;
  __syncthreads();
  if (threadIdx.y > 0 || o >= conv.out) return;
  for (int i = 1; i < kVoxels; ++i) part = merged(part, parts[i][threadIdx.x]);
  conv.partials[row * conv.out + o] = part;
}

}  // namespace

void conv3d_plain(const Stream& stream, const Conv& conv) {
  const dim3 grid(unsigned(conv.out_size[1]), unsigned(conv.last - conv.first),
                  unsigned(divide_up(conv.out, kChannels)));
  with_element(conv.inputs[0].dtype, [&](auto in) {
    with_element(conv.dtype, [&](auto out) {
      launch(stream, {"conv3d_plain", grid, dim3(kChannels, kVoxels)}, plain_kernel<decltype(in), decltype(out)>, conv);
    });
  });
}

}  // namespace sat::cuda
