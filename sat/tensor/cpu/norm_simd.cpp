// Normalisations on the CPU, vector forms. Both wait for memory: a slab's two passes of statistics read it from the
// cache once it has come in, so an instance norm reads its input twice and writes it once.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/moments.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kSlabFloats = 1 << 16;  // 256 KB: stays in a core's second-level cache
constexpr int64_t kPieces = 64;           // most parts whose statistics wait to be merged

}  // namespace

void simd_layer_norm(const Simd& simd, float* y, const float* x, const float* gain, const float* bias, int64_t rows,
                     int64_t channels, float eps) {
  parallel_for(rows, 16, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      simd.layer_norm(y + row * channels, x + row * channels, gain, bias, channels, eps);
    }
  });
}

void simd_instance_norm_leaky_relu(const Simd& simd, float* y, const float* x, const float* gain, const float* bias,
                                   int64_t batch, int64_t voxels, int64_t channels, float eps, float slope) {
  const int64_t slab = std::max<int64_t>(1, kSlabFloats / std::max<int64_t>(1, channels));
  const int64_t piece = pieces(pieces(voxels, kPieces), slab) * slab;
  const auto C = size_t(channels);
  std::vector<Moments> parts(size_t(pieces(voxels, piece)) * C);
  std::vector<float> center(C), factor(C), shift(C);
  for (int64_t b = 0; b < batch; ++b) {
    const float* from = x + b * voxels * channels;
    parallel_for(voxels, piece, [&](int64_t first, int64_t last) {
      std::vector<double> mean(C), m2(C);
      Moments* part = parts.data() + first / piece * channels;
      std::fill_n(part, channels, Moments{});
      for (int64_t v = first; v < last; v += slab) {
        const int64_t count = std::min(slab, last - v);
        simd.moments(mean.data(), m2.data(), from + v * channels, count, channels);
        for (size_t c = 0; c < C; ++c) part[c].merge({double(count), mean[c], m2[c]});
      }
    });
    parallel_for(channels, 64, [&](int64_t first, int64_t last) {
      for (auto c = size_t(first); c < size_t(last); ++c) {
        Moments whole;
        for (size_t part = c; part < parts.size(); part += C) whole.merge(parts[part]);
        const double scale = double(gain[c]) / std::sqrt(whole.m2 / whole.count + double(eps));
        center[c] = float(whole.mean);
        factor[c] = float(scale);
        shift[c] = float(double(bias[c]) - (whole.mean - double(center[c])) * scale);
      }
    });
    float* to = y + b * voxels * channels;
    parallel_for(voxels, piece, [&](int64_t first, int64_t last) {
      simd.normalise_leaky_relu(to + first * channels, from + first * channels, center.data(), factor.data(),
                                shift.data(), slope, last - first, channels);
    });
  }
}

}  // namespace sat::cpu
