// Private: the loops of an instance norm's gradient, in the form of AVX2.
// Holds plain declarations only, so that files compiled for a level share no inline function with those that are not.
#pragma once

#include <cstdint>

namespace sat::cpu {

/// A norm as its readers take it, [channels] each: n = (y - center) * factor + shift, and z = (y - center) * rstd.
struct NormRows {
  const float *center, *factor, *shift, *rstd;
  float slope;  // of the leaky ReLU behind it
};

namespace avx2 {

/// sums[c] += dn and products[c] += dn * z over voxels of d and y [voxels, channels], dn = d * (n < 0 ? slope : 1). In
/// f32, so that voxels should be few.
void add_norm_sums(float* sums, float* products, const float* d, const float* y, const NormRows& norm, int64_t voxels,
                   int64_t channels);

/// d = factor * (dn - mean - (y - center) * lean), mean and lean [channels].
void apply_norm_gradient(float* d, const float* y, const NormRows& norm, const float* mean, const float* lean,
                         int64_t voxels, int64_t channels);

}  // namespace avx2
}  // namespace sat::cpu
