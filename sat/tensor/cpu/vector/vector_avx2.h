// Private: the AVX2 loops that both tables of simd.h hold. Contracts there.
#pragma once

#include <cstdint>

namespace sat {
struct f16;
}

namespace sat::cpu::avx2 {

void gelu(float* x, int64_t count);
float exponentials(float* x, const float* bias, float scale, int64_t count);
void add_squashed(float* scores, const float* logits, float weight, int64_t count);
void moments(double* mean, double* m2, const float* x, int64_t voxels, int64_t channels);
void normalise_leaky_relu(float* y, const float* x, const float* center, const float* factor, const float* shift,
                          float slope, int64_t voxels, int64_t channels);
void widen(float* y, const f16* x, int64_t count);
void narrow(f16* y, const float* x, int64_t count);
void layer_norm(float* y, const float* x, const float* gain, const float* bias, int64_t channels, float eps);

}  // namespace sat::cpu::avx2
