// Means of features over masks on the CPU, and their gradient: voxels in pieces whose sums are added in order.
#include <algorithm>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kVoxels = 64;           // that are read in one go
constexpr int64_t kPiece = 64 * kVoxels;  // whose sums are taken by one thread
constexpr double kSmooth = 1e-14;

/// Some voxels' masks of one sample.
class MaskRows {
 public:
  MaskRows(const Tensor& masks, int64_t sample, int64_t count)
      : count_(count), bytes_(masks.shape[4]), voxels_(masks.shape[1] * masks.shape[2] * masks.shape[3]) {
    bits_ = masks.address<uint8_t>() + sample * voxels_ * bytes_;
  }
  int64_t voxels() const { return voxels_; }
  bool any(int64_t voxel, int64_t count) const {
    return std::any_of(bits_ + voxel * bytes_, bits_ + (voxel + count) * bytes_,
                       [](uint8_t byte) { return byte != 0; });
  }
  /// Calls body(n) for every mask that has the voxel.
  template <class Body>
  void each(int64_t voxel, const Body& body) const {
    for (int64_t byte = 0; byte < bytes_; ++byte) {
      const uint8_t set = bits_[voxel * bytes_ + byte];
      for (int64_t n = 8 * byte; set >> (n % 8) != 0 && n < count_; ++n) {
        if (set >> (n % 8) & 1) body(n);
        if (n % 8 == 7) break;
      }
    }
  }

 private:
  const uint8_t* bits_;
  int64_t count_, bytes_, voxels_;
};

/// Voxels of each mask of a sample.
std::vector<double> voxels_of(const MaskRows& masks, int64_t count) {
  const int64_t pieces = divide_up(masks.voxels(), kPiece);
  std::vector<int64_t> parts(size_t(pieces * count));
  parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
    for (int64_t v = piece * kPiece; v < std::min(masks.voxels(), (piece + 1) * kPiece); ++v) {
      masks.each(v, [&](int64_t n) { ++parts[size_t(piece * count + n)]; });
    }
  });
  std::vector<double> voxels(static_cast<size_t>(count), kSmooth);
  for (size_t i = 0; i < parts.size(); ++i) voxels[i % size_t(count)] += double(parts[i]);
  return voxels;
}

}  // namespace

void CpuBackend::masked_means(Tensor& y, const Features& x, const Tensor& masks) {
  const int64_t batch = y.shape[0], count = y.shape[1], channels = y.shape[2];
  for (int64_t b = 0; b < batch; ++b) {
    const FeatureReader reader(x, b);
    const MaskRows rows(masks, b, count);
    const int64_t pieces = divide_up(rows.voxels(), kPiece);
    std::vector<double> parts(size_t(pieces * count * channels));
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      std::vector<float> features(size_t(kVoxels * channels));
      double* part = parts.data() + piece * count * channels;
      const int64_t last = std::min(rows.voxels(), (piece + 1) * kPiece);
      for (int64_t voxel = piece * kPiece; voxel < last; voxel += kVoxels) {
        const int64_t some = std::min(kVoxels, last - voxel);
        if (!rows.any(voxel, some)) continue;
        reader.read(features.data(), voxel, some);
        for (int64_t v = 0; v < some; ++v) {
          const float* from = features.data() + v * channels;
          rows.each(voxel + v, [&](int64_t n) {
            for (int64_t c = 0; c < channels; ++c) part[n * channels + c] += double(from[c]);
          });
        }
      }
    });
    const std::vector<double> voxels = voxels_of(rows, count);
    float* to = y.address<float>() + b * count * channels;
    parallel_for(count * channels, 1024, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        double sum = 0;
        for (int64_t piece = 0; piece < pieces; ++piece) sum += parts[size_t(piece * count * channels + i)];
        to[i] = float(sum / voxels[size_t(i / channels)]);
      }
    });
  }
}

void CpuBackend::masked_means_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& masks) {
  const int64_t batch = dy.shape[0], count = dy.shape[1], channels = dy.shape[2];
  for (int64_t b = 0; b < batch; ++b) {
    const MaskRows rows(masks, b, count);
    const std::vector<double> voxels = voxels_of(rows, count);
    std::vector<float> shares(size_t(count * channels));
    const float* from = dy.address<float>() + b * count * channels;
    parallel_for(count, 1, [&](int64_t n, int64_t) {
      for (int64_t c = 0; c < channels; ++c) {
        shares[size_t(n * channels + c)] = float(double(from[n * channels + c]) / voxels[size_t(n)]);
      }
    });
    float* to = dx.address<float>() + b * rows.voxels() * channels;
    parallel_for(rows.voxels(), kPiece, [&](int64_t first, int64_t last) {
      for (int64_t v = first; v < last; ++v) {
        float* voxel = to + v * channels;
        if (!add) std::fill_n(voxel, channels, 0.f);
        rows.each(v, [&](int64_t n) {
          for (int64_t c = 0; c < channels; ++c) voxel[c] += shares[size_t(n * channels + c)];
        });
      }
    });
  }
}

}  // namespace sat::cpu
