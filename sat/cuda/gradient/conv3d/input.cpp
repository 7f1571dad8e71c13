// The gradient of a convolution's input: a convolution of the result's gradient with the mirrored kernel, by the
// forward pass' own kernels. A stride s splits the input into s phases along each axis, each of which meets every s-th
// tap: a convolution of stride 1 a phase.
#include <algorithm>

#include "sat/cuda/backend.h"
#include "sat/cuda/conv3d/general/conv3d_general.h"
#include "sat/cuda/gradient/conv3d/conv_gradient.h"
#include "sat/cuda/matrix/narrow.h"

namespace sat::cuda {

namespace {

constexpr int64_t kSlab = 24;  // planes that are computed at once where the gradient is added to

using Triple = std::array<int64_t, 3>;
constexpr Triple kOnes{1, 1, 1}, kNone{0, 0, 0};

}  // namespace

AxisTapsOfPhase taps_of_phase(int64_t phase, int64_t in, int64_t kernel, int64_t stride, int64_t padding) {
  // Output v reads input v * stride - padding + t. Input phase + stride * u is met by taps t = lowest + stride * j,
  // from output u + ahead - j.
  const int64_t lowest = (phase + padding) % stride, ahead = (phase + padding - lowest) / stride;
  const int64_t taps = lowest < kernel ? divide_up(kernel - lowest, stride) : 0;
  return {phase, divide_up(in - phase, stride), taps, lowest + stride * (taps - 1), taps - 1 - ahead};
}

/// A 3x3x3 kernel of stride 1 and padding 1: a variant of the forward blocks' convolution.
void CudaBackend::block_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight, int64_t first_in) {
  const Stream& stream = runtime_.stream();
  const Shape &in = dx.shape, &out = dy.shape;
  const DType type = gradient_type();
  const bool wide = type == DType::f32;
  const int64_t voxels = in[1] * in[2] * in[3], channels = in[4], plane = in[2] * in[3] * channels;
  Tensor panels({27 * (wide ? out[4] * channels : pad16(out[4]) * pad16(channels))}, type, dx.device);
  const Triple kernel{3, 3, 3}, last{2, 2, 2};
  mirror_weight(stream, panels.raw(), type,
                {weight.address<float>(), out[4], weight.shape[1], first_in, channels, kernel, kernel, last, kOnes});
  for (int64_t b = 0; b < in[0]; ++b) {
    Tensor upstream = dy.slice(b, b + 1).reshape({voxels, out[4]});
    if (!wide) upstream = narrowed(stream, upstream, voxels, out[4], out[4], type);
    Conv conv;
    conv.in_size = conv.out_size = grid_of(in, 1);
    conv.inputs[0].values = upstream.raw();
    conv.inputs[0].dtype = type;
    conv.inputs[0].channels = out[4];
    conv.weights = panels.raw();
    conv.out = channels;
    conv.last = in[1];
    const ConvVariant variant = choose_conv3d(conv, stream.limits, conv_);
    Tensor statistics({in[1] * conv3d_partials(variant, conv), channels, 3}, DType::f32, dx.device);
    Tensor workspace({conv3d_workspace(variant, conv, stream.limits)}, DType::u8, dx.device);
    conv.partials = static_cast<PartialMoments*>(statistics.raw());
    conv.workspace = workspace.raw();
    float* to = dx.address<float>() + b * voxels * channels;
    if (!add) {
      conv.values = to;
      cuda::conv3d(stream, variant, conv);
      continue;
    }
    Tensor slab({std::min(in[1], kSlab), plane}, DType::f32, dx.device);
    for (conv.first = 0; conv.first < in[1]; conv.first = conv.last) {
      conv.last = std::min(in[1], conv.first + kSlab);
      conv.values = slab.address<float>() - conv.first * plane;
      cuda::conv3d(stream, variant, conv);
      const Triple part{conv.last - conv.first, in[2], in[3]};
      place(stream, to + conv.first * plane, slab.address<float>(), true, {1, channels, part, part, kNone, kOnes});
    }
  }
}

void CudaBackend::conv3d_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight,
                                        const Conv3dOptions& options, int64_t first_in) {
  if (dx.numel() == 0) return;
  const Triple kernel = grid_of(weight.shape, 2);
  if (kernel == Triple{3, 3, 3} && options.stride == kOnes && options.padding == kOnes) {
    return block_input_gradient(dx, add, dy, weight, first_in);
  }
  const Stream& stream = runtime_.stream();
  const Shape &in = dx.shape, &out = dy.shape;
  const Triple size = grid_of(in, 1), &stride = options.stride;
  for (int64_t phase = 0; phase < stride[0] * stride[1] * stride[2]; ++phase) {
    const Triple phases{phase / (stride[1] * stride[2]), phase / stride[2] % stride[1], phase % stride[2]};
    GeneralConv conv{};
    MirroredWeight mirrored{weight.address<float>(), out[4], weight.shape[1], first_in, in[4], kernel, {}, {}, stride};
    Placing placing{in[0], in[4], {}, size, {}, stride};
    bool is_met = true, there = true;
    for (size_t a = 0; a < 3; ++a) {
      there = there && phases[a] < size[a];
      const AxisTapsOfPhase axis = taps_of_phase(phases[a], size[a], kernel[a], stride[a], options.padding[a]);
      is_met = is_met && axis.taps > 0;
      placing.part[a] = conv.out_size[a] = axis.voxels;
      placing.first[a] = axis.first;
      mirrored.taps[a] = conv.kernel[a] = axis.taps;
      mirrored.last[a] = axis.last;
      conv.padding[a] = axis.padding;
    }
    if (!there) continue;
    if (!is_met) {
      if (!add) place(stream, dx.address<float>(), nullptr, false, placing);
      continue;
    }
    Tensor panels({conv.kernel[0] * conv.kernel[1] * conv.kernel[2] * out[4] * in[4]}, DType::f32, dx.device);
    mirror_weight(stream, panels.raw(), DType::f32, mirrored);
    conv.in_size = grid_of(out, 1);
    conv.stride = kOnes;
    conv.batch = in[0];
    conv.in = out[4];
    conv.out = in[4];
    conv.x = dy.address<float>();
    conv.weights = panels.address<float>();
    const bool straight = !add && stride == kOnes;
    Tensor part;
    if (!straight) part = Tensor({conv.voxels(), in[4]}, DType::f32, dx.device);
    conv.y = straight ? dx.address<float>() : part.address<float>();
    conv3d_general(stream, conv);
    if (!straight) place(stream, dx.address<float>(), conv.y, add, placing);
  }
}

}  // namespace sat::cuda
