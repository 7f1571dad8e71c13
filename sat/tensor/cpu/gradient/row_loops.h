// Private: the loops of the gradients of rows and of what is done to each number, in the form of AVX2.
// Holds plain declarations only, so that files compiled for a level share no inline function with those that are not.
#pragma once

#include <cstdint>

namespace sat::cpu::avx2 {

/// dx = dy * gelu'(x), to about 3e-7; dx may be dy.
void gelu_gradient(float* dx, const float* dy, const float* x, int64_t count);

/// One row of a layer norm's gradient, gain null for 1. Where `sums` [2, channels] is not null, adds to it dy * z, z
/// being the norm's result without gain and bias, and dy.
void layer_norm_gradient(float* dx, float* sums, const float* dy, const float* x, const float* gain, int64_t channels,
                         float eps);

/// slopes = weights * (slopes - sum of weights * slopes): through a softmax, count a multiple of 8.
void softmax_gradient(float* slopes, const float* weights, int64_t count);

}  // namespace sat::cpu::avx2
