// The plain forms of a convolution's gradients.
#include <vector>

#include "sat/tensor/cpu/gradient/conv/gradient_job.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

/// The output voxel that reads input voxel `v` by tap `t` of an axis, or -1.
int64_t reader_of(int64_t v, int64_t t, int64_t stride, int64_t outputs) {
  const int64_t at = v - t + 1;
  return at >= 0 && at % stride == 0 && at / stride < outputs ? at / stride : -1;
}

}  // namespace

void plain_input_gradient(float* dx, bool add, const float* dy, const float* weight, const GradientShape& shape) {
  const auto [H, W, D] = shape.size;
  const auto [OH, OW, OD] = shape.out_size;
  const int64_t channels = shape.channels, out = shape.out;
  Tensor by_tap({kGradientTaps, out, channels});
  float* taps = by_tap.address<float>();
  parallel_for(out, 1, [&](int64_t o, int64_t) {
    for (int64_t i = 0; i < channels; ++i) {
      const float* from = weight + (o * shape.in + shape.first_in + i) * kGradientTaps;
      for (int64_t t = 0; t < kGradientTaps; ++t) taps[(t * out + o) * channels + i] = from[t];
    }
  });
  parallel_for(shape.batch * H * W, 1, [&, H = H, W = W, D = D, OH = OH, OW = OW, OD = OD](int64_t line, int64_t) {
    std::vector<double> sum(size_t(channels), 0.);
    for (int64_t d = 0; d < D; ++d) {
      std::fill(sum.begin(), sum.end(), 0.);
      for (int64_t t = 0; t < kGradientTaps; ++t) {
        const int64_t h = reader_of(line / W % H, t / 9, shape.stride, OH);
        const int64_t w = reader_of(line % W, t / 3 % 3, shape.stride, OW);
        const int64_t k = reader_of(d, t % 3, shape.stride, OD);
        if (h < 0 || w < 0 || k < 0) continue;
        const float* from = dy + (((line / W / H * OH + h) * OW + w) * OD + k) * out;
        for (int64_t o = 0; o < out; ++o) {
          const float* row = taps + (t * out + o) * channels;
          for (int64_t i = 0; i < channels; ++i) sum[size_t(i)] += double(from[o]) * double(row[i]);
        }
      }
      float* to = dx + (line * D + d) * channels;
      for (int64_t i = 0; i < channels; ++i) {
        to[i] = float(sum[size_t(i)] + (add ? double(to[i]) : 0.));
      }
    }
  });
}

void plain_weight_gradient(float* dw, bool add, const float* x, const float* dy, const GradientShape& shape) {
  const auto [H, W, D] = shape.size;
  const auto [OH, OW, OD] = shape.out_size;
  const int64_t channels = shape.channels, out = shape.out, stride = shape.stride;
  parallel_for(kGradientTaps * out, 1, [&, H = H, W = W, D = D, OH = OH, OW = OW, OD = OD](int64_t item, int64_t) {
    const int64_t t = item / out, o = item % out;
    std::vector<double> sum(size_t(channels), 0.);
    for (int64_t v = 0; v < shape.batch * shape.out_voxels(); ++v) {
      const int64_t h = v / OD / OW % OH * stride + t / 9 - 1, w = v / OD % OW * stride + t / 3 % 3 - 1;
      const int64_t d = v % OD * stride + t % 3 - 1;
      if (h < 0 || h >= H || w < 0 || w >= W || d < 0 || d >= D) continue;
      const float* from = x + (((v / shape.out_voxels() * H + h) * W + w) * D + d) * channels;
      const auto factor = double(dy[v * out + o]);
      for (int64_t i = 0; i < channels; ++i) sum[size_t(i)] += factor * double(from[i]);
    }
    for (int64_t i = 0; i < channels; ++i) {
      float& to = dw[(o * shape.in + shape.first_in + i) * kGradientTaps + t];
      to = float(sum[size_t(i)] + (add ? double(to) : 0.));
    }
  });
}

}  // namespace sat::cpu
