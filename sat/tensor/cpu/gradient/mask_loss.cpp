// The mask loss on the CPU: logits of some voxels at a time, which are made again for the gradient.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kVoxels = 64;           // whose logits are made in one go
constexpr int64_t kPiece = 64 * kVoxels;  // voxels whose sums are taken by one thread

/// Some voxels of a sample: their features, and what each prompt is wanted to be there.
struct MaskBlock {
  const FeatureReader& reader;
  const float* masks;      // [N, C]
  const uint8_t* bits;     // [voxels, ceil(N / 8)]
  int64_t prompts, bytes;  // of a voxel's bits
  std::vector<float> features, logits;

  MaskBlock(const FeatureReader& features_of, const float* mask_rows, const uint8_t* wanted, int64_t count)
      : reader(features_of),
        masks(mask_rows),
        bits(wanted),
        prompts(count),
        bytes((count + 7) / 8),
        features(size_t(kVoxels * features_of.channels())),
        logits(size_t(kVoxels * count)) {}

  void load(int64_t voxel, int64_t count) {
    const int64_t channels = reader.channels();
    reader.read(features.data(), voxel, count);
    for (int64_t v = 0; v < count; ++v) {
      for (int64_t n = 0; n < prompts; ++n) {
        float sum = 0;
        for (int64_t c = 0; c < channels; ++c) sum += features[size_t(v * channels + c)] * masks[n * channels + c];
        logits[size_t(v * prompts + n)] = sum;
      }
    }
  }
  bool wanted(int64_t voxel, int64_t n) const { return (bits[voxel * bytes + n / 8] >> (n % 8) & 1) != 0; }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

std::vector<std::array<double, 4>> CpuBackend::mask_sums(const Features& features, const Tensor& masks,
                                                         const Tensor& bits) {
  const Shape& grid = features.values.shape;
  const int64_t voxels = grid[1] * grid[2] * grid[3], channels = grid[4], prompts = masks.shape[1];
  const int64_t pieces = divide_up(voxels, kPiece);
  std::vector<std::array<double, 4>> sums(size_t(grid[0] * prompts));
  for (int64_t b = 0; b < grid[0]; ++b) {
    const FeatureReader reader(features, b);
    std::vector<std::array<double, 4>> parts(size_t(pieces * prompts));
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      MaskBlock block(reader, masks.address<float>() + b * prompts * channels,
                      bits.address<uint8_t>() + b * voxels * bits.shape[4], prompts);
      std::array<double, 4>* part = parts.data() + piece * prompts;
      const int64_t last = std::min(voxels, (piece + 1) * kPiece);
      for (int64_t voxel = piece * kPiece; voxel < last; voxel += kVoxels) {
        const int64_t count = std::min(kVoxels, last - voxel);
        block.load(voxel, count);
        for (int64_t i = 0; i < count * prompts; ++i) {
          const double logit = double(block.logits[size_t(i)]), p = sigmoid(logit);
          const double t = block.wanted(voxel + i / prompts, i % prompts) ? 1 : 0;
          std::array<double, 4>& sum = part[i % prompts];
          sum[0] += p * t;
          sum[1] += p * p;
          sum[2] += t;
          sum[3] += std::max(logit, 0.) - logit * t + std::log1p(std::exp(-std::abs(logit)));
        }
      }
    });
    for (int64_t i = 0; i < pieces * prompts; ++i) {
      for (size_t k = 0; k < 4; ++k) sums[size_t(b * prompts + i % prompts)][k] += parts[size_t(i)][k];
    }
  }
  return sums;
}

void CpuBackend::mask_gradient(Tensor& dfeatures, bool add, Tensor& dmasks, const Features& features,
                               const Tensor& masks, const Tensor& bits, const Tensor& factors) {
  const Shape& grid = features.values.shape;
  const int64_t voxels = grid[1] * grid[2] * grid[3], channels = grid[4], prompts = masks.shape[1];
  const int64_t pieces = divide_up(voxels, kPiece);
  for (int64_t b = 0; b < grid[0]; ++b) {
    const FeatureReader reader(features, b);
    const float* rows = masks.address<float>() + b * prompts * channels;
    const float* k = factors.address<float>() + b * prompts * 3;
    float* to = dfeatures.empty() ? nullptr : dfeatures.address<float>() + b * voxels * channels;
    std::vector<double> parts(size_t(pieces * prompts * channels));
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      MaskBlock block(reader, rows, bits.address<uint8_t>() + b * voxels * bits.shape[4], prompts);
      double* part = parts.data() + piece * prompts * channels;
      const int64_t last = std::min(voxels, (piece + 1) * kPiece);
      for (int64_t voxel = piece * kPiece; voxel < last; voxel += kVoxels) {
        const int64_t count = std::min(kVoxels, last - voxel);
        block.load(voxel, count);
        for (int64_t v = 0; v < count; ++v) {
          float* out = to ? to + (voxel + v) * channels : nullptr;
          if (out && !add) std::fill_n(out, channels, 0.f);
          for (int64_t n = 0; n < prompts; ++n) {
            const double p = sigmoid(double(block.logits[size_t(v * prompts + n)]));
            const double t = block.wanted(voxel + v, n) ? 1 : 0;
            const auto d =
                float(p * (1 - p) * (double(k[3 * n]) * t + double(k[3 * n + 1]) * p) + double(k[3 * n + 2]) * (p - t));
            for (int64_t c = 0; c < channels; ++c) {
              part[n * channels + c] += double(d) * double(block.features[size_t(v * channels + c)]);
              if (out) out[c] += d * rows[n * channels + c];
            }
          }
        }
      }
    });
    if (Context::current().dry()) continue;
    float* sums = dmasks.data<float>() + b * prompts * channels;
    for (int64_t i = 0; i < prompts * channels; ++i) {
      double sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) sum += parts[size_t(piece * prompts * channels + i)];
      sums[i] = float(sum);
    }
  }
}

}  // namespace sat::cpu
