// Normalisations on the CPU, plain form.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/moments.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kVoxelsASlab = 4096;

}  // namespace

void layer_norm(float* y, const float* x, const float* gain, const float* bias, int64_t rows, int64_t channels,
                float eps) {
  if (const Simd* simd = current_simd()) {
    return simd_layer_norm(*simd, y, x, gain, bias, rows, channels, eps);
  }
  parallel_for(rows, 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* from = x + row * channels;
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < channels; ++c) mean += double(from[c]);
      mean /= double(channels);
      for (int64_t c = 0; c < channels; ++c) variance += (double(from[c]) - mean) * (double(from[c]) - mean);
      const double scale = 1 / std::sqrt(variance / double(channels) + double(eps));
      for (int64_t c = 0; c < channels; ++c) {
        y[row * channels + c] = float((double(from[c]) - mean) * scale) * gain[c] + bias[c];
      }
    }
  });
}

void instance_norm_leaky_relu(float* y, const float* x, const float* gain, const float* bias, int64_t batch,
                              int64_t voxels, int64_t channels, float eps, float slope) {
  if (const Simd* simd = current_simd()) {
    return simd_instance_norm_leaky_relu(*simd, y, x, gain, bias, batch, voxels, channels, eps, slope);
  }
  const int64_t slabs = pieces(voxels, kVoxelsASlab);
  std::vector<Moments> parts(size_t(slabs * channels));
  std::vector<float> center(size_t(channels), 0.f), scale(center), shift(center);
  for (int64_t b = 0; b < batch; ++b) {
    const float* from = x + b * voxels * channels;
    parallel_for(voxels, kVoxelsASlab, [&](int64_t first, int64_t last) {
      Moments* slab = parts.data() + first / kVoxelsASlab * channels;
      for (int64_t c = 0; c < channels; ++c) {
        Moments m;
        m.count = double(last - first);
        for (int64_t v = first; v < last; ++v) m.mean += double(from[v * channels + c]);
        m.mean /= m.count;
        for (int64_t v = first; v < last; ++v) {
          const double difference = double(from[v * channels + c]) - m.mean;
          m.m2 += difference * difference;
        }
        slab[c] = m;
      }
    });
    parallel_for(channels, 1, [&](int64_t c, int64_t) {
      Moments whole;
      for (int64_t slab = 0; slab < slabs; ++slab) whole.merge(parts[size_t(slab * channels + c)]);
      const double factor = double(gain[c]) / std::sqrt(whole.m2 / whole.count + double(eps));
      center[size_t(c)] = float(whole.mean);  // taken off first: x - mean is exact where |mean| >> std
      scale[size_t(c)] = float(factor);
      shift[size_t(c)] = float(double(bias[c]) - (whole.mean - double(center[size_t(c)])) * factor);
    });
    float* to = y + b * voxels * channels;
    parallel_for(voxels, kVoxelsASlab, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        for (int64_t c = 0; c < channels; ++c) {
          const float value = (from[v * channels + c] - center[size_t(c)]) * scale[size_t(c)] + shift[size_t(c)];
          to[v * channels + c] = value < 0 ? slope * value : value;
        }
      }
    });
  }
}

}  // namespace sat::cpu
