// Private: a dense layer with what follows its sum, as its forms on the CPU share it.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/ops.h"

namespace sat::cpu {

/// y [rows, out] = act(x [rows, in] * weight + bias), or with a residual, residual + scale * (the same). Null where
/// there is no bias, no residual, no scale.
struct Dense {
  float* y;
  const float *x, *panels, *bias;
  int64_t rows, in, out;
  Activation act;
  const float *residual = nullptr, *scale = nullptr;

  /// One result, in the plain form.
  float finished(float sum, int64_t row, int64_t o) const;
  /// Results [first, first + outputs) of a row, in the vector form.
  void finish(const Simd& simd, int64_t row, int64_t first, int64_t outputs, const float* sums) const;
};

}  // namespace sat::cpu
