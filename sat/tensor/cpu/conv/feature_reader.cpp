// Reading features whose norm is pending.
#include "sat/tensor/cpu/conv/feature_reader.h"

#include <algorithm>

#include "sat/tensor/convert.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"

namespace sat::cpu {

PendingNorm pending_norm(const Features& x, int64_t sample) {
  if (x.center.empty()) return {};
  const int64_t from = sample * x.values.shape[4];
  return {x.center.address<float>() + from, x.factor.address<float>() + from, x.shift.address<float>() + from, x.slope};
}

FeatureReader::FeatureReader(const Features& x, int64_t sample)
    : vector_(current_simd() != nullptr), channels_(x.values.shape[4]), norm_(pending_norm(x, sample)) {
  const Shape& shape = x.values.shape;
  const int64_t first = sample * shape[1] * shape[2] * shape[3] * channels_;
  if (x.values.dtype == DType::f16) {
    half_ = x.values.address<f16>() + first;
  } else {
    wide_ = x.values.address<float>() + first;
  }
}

void FeatureReader::read(float* to, int64_t voxel, int64_t count) const {
  const float* from = half_ ? to : wide_ + voxel * channels_;
  if (half_) convert_row(to, half_ + voxel * channels_, count * channels_);
  if (!norm_.center) {
    if (from != to) std::copy_n(from, count * channels_, to);
  } else if (vector_) {
    avx2::normalise_leaky_relu(to, from, norm_.center, norm_.factor, norm_.shift, norm_.slope, count, channels_);
  } else {
    for (int64_t i = 0; i < count * channels_; ++i) {
      const int64_t c = i % channels_;
      const float value = (from[i] - norm_.center[c]) * norm_.factor[c] + norm_.shift[c];
      to[i] = value < 0 ? norm_.slope * value : value;
    }
  }
}

}  // namespace sat::cpu
