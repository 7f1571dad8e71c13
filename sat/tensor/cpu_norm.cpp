// Normalisations on the CPU, plain form.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/kernels.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kVoxelsASlab = 4096;

/// count, mean and sum of squared deviations of part of a channel; parts merge by Chan's formula.
struct Moments {
  double count = 0, mean = 0, m2 = 0;

  void merge(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count, delta = other.mean - mean;
    mean += delta * other.count / total;
    m2 += other.m2 + delta * delta * count * other.count / total;
    count = total;
  }
};

}  // namespace

void layer_norm(float* y, const float* x, const float* gain, const float* bias, int64_t rows, int64_t channels,
                float eps) {
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
  const int64_t slabs = pieces(voxels, kVoxelsASlab);
  std::vector<Moments> parts(size_t(slabs * channels));
  std::vector<float> scale(size_t(channels), 0.f), shift(size_t(channels), 0.f);
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
    for (int64_t c = 0; c < channels; ++c) {
      Moments whole;
      for (int64_t slab = 0; slab < slabs; ++slab) whole.merge(parts[size_t(slab * channels + c)]);
      const double factor = double(gain[c]) / std::sqrt(whole.m2 / whole.count + double(eps));
      scale[size_t(c)] = float(factor);
      shift[size_t(c)] = float(double(bias[c]) - whole.mean * factor);
    }
    float* to = y + b * voxels * channels;
    parallel_for(voxels, kVoxelsASlab, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        for (int64_t c = 0; c < channels; ++c) {
          const float value = from[v * channels + c] * scale[size_t(c)] + shift[size_t(c)];
          to[v * channels + c] = value < 0 ? slope * value : value;
        }
      }
    });
  }
}

}  // namespace sat::cpu
