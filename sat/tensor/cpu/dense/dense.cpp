// What follows a dense layer's sum on the CPU: bias, activation, residual.
#include "sat/tensor/cpu/dense/dense.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/vector/vector_avx2.h"

namespace sat::cpu {

float Dense::finished(float sum, int64_t row, int64_t o) const {
  float value = bias ? sum + bias[o] : sum;
  if (act == Activation::relu) value = std::max(value, 0.f);
  if (act == Activation::gelu) value = 0.5f * value * (1.f + std::erf(value * 0.70710678118654752f));
  return residual ? residual[row * out + o] + (scale ? scale[o] * value : value) : value;
}

void Dense::finish(const Simd& simd, int64_t row, int64_t first, int64_t outputs, const float* sums) const {
  float* to = y + row * out + first;
  if (residual)
    return avx2::add_scaled(to, residual + row * out + first, sums, bias ? bias + first : nullptr,
                            scale ? scale + first : nullptr, outputs);
  for (int64_t o = 0; o < outputs; ++o) to[o] = bias ? sums[o] + bias[first + o] : sums[o];
  if (act == Activation::relu) {
    for (int64_t o = 0; o < outputs; ++o) to[o] = std::max(to[o], 0.f);
  } else if (act == Activation::gelu) {
    simd.gelu(to, outputs);
  }
}

}  // namespace sat::cpu
