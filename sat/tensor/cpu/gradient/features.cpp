// Gradients of what is done to features on the CPU: instance norm with its leaky ReLU, pooling, blocks of voxels.
#include <algorithm>

#include "sat/tensor/convert.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/gradient/norm_loops.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kPiece = 1024;  // voxels whose sums are taken by one thread
constexpr int64_t kRun = 64;      // voxels whose sums are taken in f32

/// A volume's raw values, some voxels at a time.
class RawReader {
 public:
  RawReader(const Tensor& values, int64_t channels) : values_(values), channels_(channels) {}

  /// `room` holds kRun voxels, and is used where the values are half-width.
  const float* at(int64_t voxel, int64_t count, float* room) const {
    if (values_.dtype == DType::f32) return values_.address<float>() + voxel * channels_;
    convert_row(room, values_.address<f16>() + voxel * channels_, count * channels_);
    return room;
  }

 private:
  const Tensor& values_;
  int64_t channels_;
};

float through_relu(float d, float n, float slope) { return n < 0 ? slope * d : d; }

/// The plain form of avx2::add_norm_sums().
void add_norm_sums(float* sums, float* products, const float* d, const float* y, const NormRows& norm, int64_t voxels,
                   int64_t channels) {
  for (int64_t i = 0; i < voxels * channels; ++i) {
    const int64_t c = i % channels;
    const float off = y[i] - norm.center[c];
    const float dn = through_relu(d[i], off * norm.factor[c] + norm.shift[c], norm.slope);
    sums[c] += dn;
    products[c] += dn * off * norm.rstd[c];
  }
}

/// The plain form of avx2::apply_norm_gradient().
void apply_norm_gradient(float* d, const float* y, const NormRows& norm, const float* mean, const float* lean,
                         int64_t voxels, int64_t channels) {
  for (int64_t i = 0; i < voxels * channels; ++i) {
    const int64_t c = i % channels;
    const float off = y[i] - norm.center[c];
    const float dn = through_relu(d[i], off * norm.factor[c] + norm.shift[c], norm.slope);
    d[i] = norm.factor[c] * (dn - mean[c] - off * lean[c]);
  }
}

}  // namespace

// With n = (y - center) * factor + shift the norm's result before the ReLU, dn = d * (n < 0 ? slope : 1) and
// z = (y - center) * rstd:  dgain = sum dn z, dbias = sum dn,  d raw = gain rstd (dn - mean dn - z mean(dn z)).
void CpuBackend::norm_gradient(Tensor& d, Tensor& dgain, Tensor& dbias, const Features& y, const NormWeights& norm) {
  const Shape& shape = y.values.shape;
  const int64_t batch = shape[0], channels = shape[4], voxels = shape[1] * shape[2] * shape[3];
  const int64_t pieces = divide_up(voxels, kPiece);
  const RawReader raw(y.values, channels);
  const bool vector = current_simd() != nullptr;
  float* gradient = d.address<float>();
  const auto norm_of = [&](int64_t sample) {
    const int64_t at = sample * channels;
    return NormRows{y.center.address<float>() + at, y.factor.address<float>() + at, y.shift.address<float>() + at,
                    y.rstd.address<float>() + at, norm.slope};
  };
  std::vector<double> parts(size_t(batch * pieces * 2 * channels));  // of each piece sums, then products
  const auto each_run = [&](int64_t item, const auto& take) {
    const int64_t sample = item / pieces, first = item % pieces * kPiece, last = std::min(voxels, first + kPiece);
    std::vector<float> room(size_t(y.values.dtype == DType::f32 ? 0 : kRun * channels));
    for (int64_t voxel = first; voxel < last; voxel += kRun) {
      const int64_t at = sample * voxels + voxel, count = std::min(kRun, last - voxel);
      take(gradient + at * channels, raw.at(at, count, room.data()), count);
    }
  };
  parallel_for(batch * pieces, 1, [&](int64_t item, int64_t) {
    const NormRows rows = norm_of(item / pieces);
    std::vector<float> run(size_t(2 * channels));
    double* part = parts.data() + item * 2 * channels;
    each_run(item, [&](float* dy, const float* values, int64_t count) {
      std::fill(run.begin(), run.end(), 0.f);
      (vector ? avx2::add_norm_sums : add_norm_sums)(run.data(), run.data() + channels, dy, values, rows, count,
                                                     channels);
      for (int64_t c = 0; c < 2 * channels; ++c) part[c] += double(run[size_t(c)]);
    });
  });
  if (Context::current().dry()) return;
  std::vector<double> all(size_t(2 * channels));
  std::vector<float> mean(size_t(batch * channels)), lean(mean.size());
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<double> sums(all.size());
    for (int64_t i = 0; i < pieces * 2 * channels; ++i) {
      sums[size_t(i % (2 * channels))] += parts[size_t(b * pieces * 2 * channels + i)];
    }
    for (int64_t c = 0; c < channels; ++c) {
      const auto at = size_t(b * channels + c);
      mean[at] = float(sums[size_t(c)] / double(voxels));
      lean[at] = float(sums[size_t(channels + c)] / double(voxels) * double(y.rstd.address<float>()[at]));
    }
    for (size_t i = 0; i < all.size(); ++i) all[i] += sums[i];
  }
  for (int64_t c = 0; c < channels; ++c) {
    dbias.data<float>()[c] = float(all[size_t(c)]);
    dgain.data<float>()[c] = float(all[size_t(channels + c)]);
  }
  parallel_for(batch * pieces, 1, [&](int64_t item, int64_t) {
    const NormRows rows = norm_of(item / pieces);
    const int64_t at = item / pieces * channels;
    each_run(item, [&](float* dy, const float* values, int64_t count) {
      (vector ? avx2::apply_norm_gradient : apply_norm_gradient)(dy, values, rows, mean.data() + at, lean.data() + at,
                                                                 count, channels);
    });
  });
}

void CpuBackend::avg_pool3d_gradient(Tensor& dx, bool add, const Tensor& dy, int64_t k) {
  const Shape &shape = dx.shape, &small = dy.shape;
  const int64_t channels = shape[4];
  const float share = 1 / float(k * k * k);
  const float* from = dy.address<float>();
  float* to = dx.address<float>();
  parallel_for(shape[0] * shape[1] * shape[2], 8, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t b = line / (shape[1] * shape[2]), h = line / shape[2] % shape[1], w = line % shape[2];
      const float* row = from + ((b * small[1] + h / k) * small[2] + w / k) * small[3] * channels;
      for (int64_t d = 0; d < shape[3]; ++d) {
        float* voxel = to + (line * shape[3] + d) * channels;
        const float* mean = row + d / k * channels;
        for (int64_t c = 0; c < channels; ++c) voxel[c] = (add ? voxel[c] : 0) + share * mean[c];
      }
    }
  });
}

void CpuBackend::split_blocks(Tensor& y, const Tensor& x) {
  const Shape &large = x.shape, &small = y.shape;
  const int64_t channels = large[4];
  const float* from = x.address<float>();
  float* to = y.address<float>();
  parallel_for(small[0] * small[1] * small[2], 8, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t b = line / (small[1] * small[2]), h = line / small[2] % small[1], w = line % small[2];
      for (int64_t tap = 0; tap < 4; ++tap) {  // pairs along D lie side by side
        const float* row = from + ((b * large[1] + 2 * h + tap / 2) * large[2] + 2 * w + tap % 2) * large[3] * channels;
        for (int64_t d = 0; d < small[3]; ++d) {
          std::copy_n(row + 2 * d * channels, 2 * channels, to + ((line * small[3] + d) * 8 + 2 * tap) * channels);
        }
      }
    }
  });
}

}  // namespace sat::cpu
