// Private. Blocks of a 3x3x3 convolution and an instance norm, as all of SAT's backbones use them, with the weights
// that they read.
#pragma once

#include <optional>

#include "sat/nn/sat/backbones/backbone.h"

namespace sat {

/// What a block learns beside its kernel, and what follows its norm.
struct BlockStyle {
  bool affine = true;   // gain and bias of the norm, and a bias of the convolution
  float slope = 0.01f;  // of the leaky ReLU; 1: none
};

/// The norm that is published as `norm.weight` and `norm.bias`, or one without parameters: 1 and 0.
NormWeights instance_norm_weights(const Weights& w, int64_t channels, const BlockStyle& style);

/// [out, in, ...] -> [out, 1, ...]: for a grey image that stands for `in` equal ones.
Tensor summed_over_inputs(const Tensor& weight);

/// What a block learns besides the convolution's weight. The convolution's bias cancels in the norm: a forward pass
/// does not read it.
struct ConvBlockNorm {
  NormWeights norm;

  ConvBlockNorm(const Weights& w, int64_t out, const BlockStyle& style);
};

/// Convolution 3x3x3 -> instance norm -> leaky ReLU.
struct ConvBlock : ConvBlockNorm {
  ConvBlockWeight weight;
  std::optional<ConvBlockWeight> grey;  // the kernel summed over its inputs, for a grey image

  ConvBlock(const Weights& w, const BackboneLayer& planned, bool takes_grey = false, const BlockStyle& style = {});
  Features operator()(Features x) const;  // [B, H, W, D, in] -> [B, H/stride, ..., out]
};

/// One behind the other.
Features in_turn(const std::vector<ConvBlock>& blocks, Features x);

/// Up-sampling by a transposed convolution, join with a skip connection (up-sampled first), and a ConvBlock of both.
struct UpBlock : ConvBlockNorm {
  UpBlockWeight weight;

  UpBlock(const Weights& up, const Weights& block, int64_t from, const BackboneLayer& planned);
  /// Of a kernel [from, up, 2, 2, 2] that was read from `up`.
  UpBlock(const Weights& up, const Tensor& up_kernel, const Weights& block, const BackboneLayer& planned,
          const BlockStyle& style);
  Features operator()(Features low, Features skip) const;
};

}  // namespace sat
