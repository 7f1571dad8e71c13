// Private: the sizes of a convolution whose gradient is asked for, and its plain forms.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/ops.h"

namespace sat::cpu {

/// A convolution of kernel 3 and padding 1, of which `channels` inputs from `first_in` on are looked at.
struct GradientShape {
  int64_t batch;
  std::array<int64_t, 3> size, out_size;  // H, W, D of the inputs and of the outputs
  int64_t stride, first_in, channels, in, out;

  int64_t voxels() const { return size[0] * size[1] * size[2]; }
  int64_t out_voxels() const { return out_size[0] * out_size[1] * out_size[2]; }
};

constexpr int64_t kGradientTaps = 27;

/// The readable reference: the sums of conv_gradient.h in their own order, in double.
void plain_input_gradient(float* dx, bool add, const float* dy, const float* weight, const GradientShape& shape);
void plain_weight_gradient(float* dw, bool add, const float* x, const float* dy, const GradientShape& shape);

}  // namespace sat::cpu
