// Gradients of convolutions on the CPU: those of blocks by the fast forms of conv/, any other kernel, stride and
// padding as the definition says, summed in double.
#include <algorithm>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/conv/conv_gradient.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

/// Kernel 3x3x3, padding 1, stride 1 or 2.
bool is_block(const Shape& weight, const Conv3dOptions& options) {
  const std::array<int64_t, 3> ones{1, 1, 1}, twos{2, 2, 2};
  return weight[2] == 3 && weight[3] == 3 && weight[4] == 3 && options.padding == ones &&
         (options.stride == ones || options.stride == twos);
}

}  // namespace

void CpuBackend::conv3d_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight,
                                       const Conv3dOptions& options, int64_t first_in) {
  if (is_block(weight.shape, options)) {
    return cpu::conv3d_input_gradient(dx, add, dy, weight, first_in, options.stride[0], amx_loops());
  }
  const Shape &in = dx.shape, &out = dy.shape, &w = weight.shape;
  const int64_t taps = w[2] * w[3] * w[4];
  const float *from = dy.address<float>(), *kernel = weight.address<float>();
  float* to = dx.address<float>();
  parallel_for(in[0] * in[1] * in[2] * in[3], 4, [&](int64_t first, int64_t last) {
    std::vector<double> sums(size_t(in[4]), 0.);
    for (int64_t voxel = first; voxel < last; ++voxel) {
      std::fill(sums.begin(), sums.end(), 0.);
      const std::array<int64_t, 3> at{voxel / (in[2] * in[3]) % in[1], voxel / in[3] % in[2], voxel % in[3]};
      for (int64_t tap = 0; tap < taps; ++tap) {
        const std::array<int64_t, 3> t{tap / (w[3] * w[4]), tap / w[4] % w[3], tap % w[4]};
        int64_t place = voxel / (in[1] * in[2] * in[3]);
        bool inside = true;
        for (size_t a = 0; a < 3; ++a) {
          const int64_t from_start = at[a] + options.padding[a] - t[a];
          const int64_t v = from_start / options.stride[a];
          inside = inside && from_start >= 0 && from_start % options.stride[a] == 0 && v < out[int(a) + 1];
          place = place * out[int(a) + 1] + v;
        }
        if (!inside) continue;
        for (int64_t o = 0; o < out[4]; ++o) {
          const double upstream = double(from[place * out[4] + o]);
          const float* row = kernel + (o * w[1] + first_in) * taps + tap;
          for (int64_t i = 0; i < in[4]; ++i) sums[size_t(i)] += upstream * double(row[i * taps]);
        }
      }
      for (int64_t i = 0; i < in[4]; ++i) {
        float& value = to[voxel * in[4] + i];
        value = (add ? value : 0) + float(sums[size_t(i)]);
      }
    }
  });
}

void CpuBackend::conv3d_weight_gradient(Tensor& dw, const Features& features, const Tensor& dy,
                                        const Conv3dOptions& options, int64_t first_in) {
  if (is_block(dw.shape, options)) {
    return cpu::conv3d_weight_gradient(dw, first_in, features, dy, options.stride[0], false);
  }
  const Tensor x = sat::materialize(features);
  const Shape &in = x.shape, &out = dy.shape, &w = dw.shape;
  const int64_t taps = w[2] * w[3] * w[4];
  const float *read = x.address<float>(), *upstream = dy.address<float>();
  float* to = dw.address<float>();
  parallel_for(taps * in[4], 1, [&](int64_t item, int64_t) {
    const int64_t tap = item / in[4], i = item % in[4];
    const std::array<int64_t, 3> t{tap / (w[3] * w[4]), tap / w[4] % w[3], tap % w[4]};
    std::vector<double> sums(size_t(out[4]), 0.);
    for (int64_t v = 0; v < out[0] * out[1] * out[2] * out[3]; ++v) {
      const std::array<int64_t, 3> at{v / (out[2] * out[3]) % out[1], v / out[3] % out[2], v % out[3]};
      int64_t place = v / (out[1] * out[2] * out[3]);
      bool inside = true;
      for (size_t a = 0; a < 3; ++a) {
        const int64_t from = at[a] * options.stride[a] - options.padding[a] + t[a];
        inside = inside && from >= 0 && from < in[int(a) + 1];
        place = place * in[int(a) + 1] + from;
      }
      if (!inside) continue;
      const double value = double(read[place * in[4] + i]);
      for (int64_t o = 0; o < out[4]; ++o) sums[size_t(o)] += value * double(upstream[v * out[4] + o]);
    }
    for (int64_t o = 0; o < out[4]; ++o) to[(o * w[1] + first_in + i) * taps + tap] = float(sums[size_t(o)]);
  });
}

}  // namespace sat::cpu
