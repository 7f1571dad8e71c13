// Gradients of what is done to features on the CPU: instance norm with its leaky ReLU, pooling, blocks of voxels.
#include <algorithm>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/half.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kSummedVoxels = 1024;  // whose sums are taken in one go

/// y's raw values of some voxels, f32 or f16.
struct RawReader {
  const float* wide = nullptr;
  const f16* half = nullptr;
  explicit RawReader(const Tensor& values) {
    if (values.dtype == DType::f32)
      wide = values.address<float>();
    else
      half = values.address<f16>();
  }
  float operator[](int64_t i) const { return wide ? wide[i] : to_float(half[i]); }
};

}  // namespace

// With n = (y - center) * factor + shift the norm's result before the ReLU, dn = d * (n < 0 ? slope : 1) and
// z = (y - center) * rstd:  dgain = sum dn z, dbias = sum dn,  d raw = gain rstd (dn - mean dn - z mean(dn z)).
void CpuBackend::norm_gradient(Tensor& d, Tensor& dgain, Tensor& dbias, const Features& y, const NormWeights& norm) {
  const Shape& shape = y.values.shape;
  const int64_t batch = shape[0], channels = shape[4], voxels = shape[1] * shape[2] * shape[3];
  const int64_t pieces = divide_up(voxels, kSummedVoxels);
  const RawReader raw(y.values);
  float* gradient = d.address<float>();
  const float *center = y.center.address<float>(), *factor = y.factor.address<float>(),
              *shift = y.shift.address<float>(), *rstd = y.rstd.address<float>();
  struct Sums {
    double dn = 0, dnz = 0;
  };
  std::vector<Sums> parts(size_t(batch * pieces * channels));
  parallel_for(batch * pieces, 1, [&](int64_t item, int64_t) {
    const int64_t b = item / pieces, first = item % pieces * kSummedVoxels,
                  last = std::min(voxels, first + kSummedVoxels);
    Sums* part = parts.data() + item * channels;
    for (int64_t voxel = first; voxel < last; ++voxel) {
      const int64_t at = (b * voxels + voxel) * channels, of = b * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const float off = raw[at + c] - center[of + c];
        const float n = off * factor[of + c] + shift[of + c];
        const float dn = n < 0 ? norm.slope * gradient[at + c] : gradient[at + c];
        gradient[at + c] = dn;
        part[c].dn += double(dn);
        part[c].dnz += double(dn) * double(off * rstd[of + c]);
      }
    }
  });
  if (Context::current().dry()) return;
  std::vector<Sums> sums(size_t(batch * channels));
  for (int64_t i = 0; i < batch * pieces * channels; ++i) {
    Sums& sum = sums[size_t(i / (pieces * channels) * channels + i % channels)];
    sum.dn += parts[size_t(i)].dn;
    sum.dnz += parts[size_t(i)].dnz;
  }
  for (int64_t c = 0; c < channels; ++c) {
    Sums all;
    for (int64_t b = 0; b < batch; ++b) {
      all.dn += sums[size_t(b * channels + c)].dn;
      all.dnz += sums[size_t(b * channels + c)].dnz;
    }
    dgain.data<float>()[c] = float(all.dnz);
    dbias.data<float>()[c] = float(all.dn);
  }
  parallel_for(batch * pieces, 1, [&](int64_t item, int64_t) {
    const int64_t b = item / pieces, first = item % pieces * kSummedVoxels,
                  last = std::min(voxels, first + kSummedVoxels);
    for (int64_t voxel = first; voxel < last; ++voxel) {
      const int64_t at = (b * voxels + voxel) * channels, of = b * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const float mean = float(sums[size_t(of + c)].dn / double(voxels));
        const float lean = float(sums[size_t(of + c)].dnz / double(voxels)) * rstd[of + c];
        gradient[at + c] = factor[of + c] * (gradient[at + c] - mean - (raw[at + c] - center[of + c]) * lean);
      }
    }
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
