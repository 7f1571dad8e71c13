// Private. The convolutional layers that heads on images share: a 2-D convolution, and a batch norm as it is evaluated.
// Knows weights by their published names and the ops of tensor/ops.h; no papers. Images are [B, H, W, C].
#pragma once

#include "sat/tensor/ops.h"
#include "sat/tensor/weights.h"

namespace sat {

struct Conv2dSizes {
  int64_t in = 0, out = 0, kernel = 1;
  int64_t stride = 1, padding = 0;
  bool bias = true;
};

/// torch.nn.Conv2d: reads `weight` [out, in, kernel, kernel], and `bias` [out] where it has one.
struct Conv2d {
  PackedConv3d weight;
  Tensor bias;  // or empty
  int64_t stride = 1, padding = 0;

  Conv2d() = default;
  Conv2d(const Weights& w, const Conv2dSizes& sizes);

  Tensor operator()(const Tensor& x) const { return conv2d(x, weight, bias, stride, padding); }
};

/// torch.nn.BatchNorm2d with the statistics it has learnt: (x - running_mean) / sqrt(running_var + eps) * weight +
/// bias. That is a pending norm that no batch decides.
struct BatchNorm {
  Tensor center, factor, shift;  // [1, C]

  BatchNorm() = default;
  BatchNorm(const Weights& w, int64_t channels, float eps = 1e-5f);

  /// leaky_relu of the norm, left to the next reader; slope 1 is no activation, 0 a ReLU. The values stand as one
  /// volume [1, B, H, W, C], for every image has the same norm.
  Features pending(Tensor x, float slope) const;
  /// The same, done: [B, H, W, C].
  Tensor operator()(Tensor x, float slope = 1) const;
};

/// relu(norm(x) + y): the end of a residual block. x, y [B, H, W, C].
Tensor add_relu(Tensor x, const BatchNorm& norm, const Tensor& y);

}  // namespace sat
