// Convolutions on the CPU, plain form.
#include <algorithm>

#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

void conv3d(float* y, const float* x0, const float* x1, const float* panels, const float* bias,
            const ConvShape& shape) {
  if (const Simd* simd = current_simd()) {
    return simd_conv3d(*simd, y, x0, x1, panels, bias, shape);
  }
  const auto [H, W, D] = shape.in_size;
  const auto [OH, OW, OD] = shape.out_size;
  const int64_t k = shape.kernel, in = shape.in0 + shape.in1;
  parallel_for(shape.batch * OH * OW, 1, [&, H = H, W = W, D = D, OH = OH, OW = OW, OD = OD](int64_t line, int64_t) {
    const int64_t b = line / (OH * OW), oh = line / OW % OH, ow = line % OW;
    for (int64_t od = 0; od < OD; ++od) {
      float* to = y + (line * OD + od) * shape.out;
      for (int64_t panel = 0; panel * 16 < shape.out; ++panel) {
        float sum[16] = {};
        for (int64_t tap = 0; tap < k * k * k; ++tap) {
          const int64_t h = oh * shape.stride + tap / (k * k) - shape.padding;
          const int64_t w = ow * shape.stride + tap / k % k - shape.padding;
          const int64_t d = od * shape.stride + tap % k - shape.padding;
          if (h < 0 || h >= H || w < 0 || w >= W || d < 0 || d >= D) continue;
          const int64_t voxel = ((b * H + h) * W + w) * D + d;
          const float* weight = panels + (panel * k * k * k + tap) * in * 16;
          float part[16] = {};  // a tap at a time: no f32 sum is longer than the channels
          for (int64_t i = 0; i < in; ++i) {
            const float value = i < shape.in0 ? x0[voxel * shape.in0 + i] : x1[voxel * shape.in1 + i - shape.in0];
            for (int64_t lane = 0; lane < 16; ++lane) part[lane] += value * weight[i * 16 + lane];
          }
          for (int64_t lane = 0; lane < 16; ++lane) sum[lane] += part[lane];
        }
        const int64_t width = std::min<int64_t>(16, shape.out - panel * 16);
        for (int64_t lane = 0; lane < width; ++lane) {
          to[panel * 16 + lane] = sum[lane] + (bias ? bias[panel * 16 + lane] : 0.f);
        }
      }
    }
  });
}

void conv3d_counted(const ConvResult& y, const float* x0, const float* x1, const float* panels,
                    const ConvShape& shape) {
  if (const Simd* simd = current_simd()) return simd_conv3d_counted(*simd, y, x0, x1, panels, shape);
  const int64_t voxels = shape.out_size[0] * shape.out_size[1] * shape.out_size[2], out = shape.out;
  const Tensor wide({shape.batch * voxels, out});
  const float* values = wide.data<float>();
  conv3d(wide.data<float>(), x0, x1, panels, nullptr, shape);
  parallel_for(shape.batch * out, 1, [&](int64_t item, int64_t) {
    const float* from = values + item / out * voxels * out + item % out;
    Moments& m = y.statistics[item];
    m = {double(voxels), 0, 0};
    for (int64_t v = 0; v < voxels; ++v) m.mean += double(from[v * out]) / double(voxels);
    for (int64_t v = 0; v < voxels; ++v) m.m2 += (double(from[v * out]) - m.mean) * (double(from[v * out]) - m.mean);
  });
  parallel_for(shape.batch * voxels, 256, [&](int64_t first, int64_t last) {
    for (int64_t i = first * out; i < last * out; ++i) {
      if (y.dtype == DType::f16) {
        static_cast<f16*>(y.values)[i] = to_f16(std::clamp(values[i], -kLargestHalf, kLargestHalf));
      } else {
        static_cast<float*>(y.values)[i] = values[i];
      }
    }
  });
}

void conv_transpose3d(float* y, const float* x, const float* panels, const float* bias, int64_t batch,
                      std::array<int64_t, 3> size, int64_t in, int64_t out) {
  if (const Simd* simd = current_simd()) {
    return simd_conv_transpose3d(*simd, y, x, panels, bias, batch, size, in, out);
  }
  const auto [H, W, D] = size;
  parallel_for(batch * H * W, 1, [&, W = W, D = D](int64_t line, int64_t) {
    const int64_t bh = line / W, w = line % W;  // bh counts samples and rows together: both double alike
    for (int64_t d = 0; d < D; ++d) {
      const float* from = x + (line * D + d) * in;
      for (int64_t o = 0; o < 8 * out; ++o) {
        const int64_t corner = o / out;
        const int64_t row = 2 * bh + corner / 4, column = 2 * w + corner / 2 % 2, slice = 2 * d + corner % 2;
        float sum = bias ? bias[o % out] : 0.f;
        for (int64_t i = 0; i < in; ++i) sum += from[i] * panels[(o / 16 * in + i) * 16 + o % 16];
        y[((row * 2 * W + column) * 2 * D + slice) * out + o % out] = sum;
      }
    }
  });
}

}  // namespace sat::cpu
