// Private. Residual blocks of two 3x3x3 convolutions, as U-Mamba's encoder and decoder and SwinUNETR's convolutions are
// made of, and the shortcut past them.
#pragma once

#include <optional>

#include "sat/nn/sat/backbones/conv_block.h"

namespace sat {

/// A 1x1x1 convolution without bias, and an instance norm: what the input goes through where channels change.
struct Shortcut {
  PackedMatrix weight;
  std::optional<PackedMatrix> grey;  // summed over its inputs
  NormWeights norm;

  Shortcut(const Weights& w, int64_t in, int64_t out, bool takes_grey, const BlockStyle& style);
  Features operator()(const Tensor& x) const;  // [B, H, W, D, in] -> [B, H, W, D, out]
};

/// conv1 -> norm -> leaky ReLU -> conv2 -> norm, plus the input, then a leaky ReLU. Where the block has a stride, the
/// input is averaged over 2x2x2 voxels first; where it has a `shortcut`, it goes through that.
struct ResidualBlock {
  ConvBlock conv1, conv2;
  std::optional<Shortcut> shortcut;
  float slope;

  /// Weights w.conv1 and w.conv2; `planned`: of the two convolutions. A shortcut is read from `shortcut` where
  /// channels change.
  ResidualBlock(const Weights& w, const Weights& shortcut, const BackboneLayer* planned, const BlockStyle& style,
                bool takes_grey = false);
  Features operator()(Features x) const;  // the result is final
};

/// The shortcut of a block whose input is [transposed convolution of a coarser volume, skip]: neither the joined volume
/// nor the up-sampled half of it exists. The 1x1x1 convolution's half for the up-sampled channels is multiplied into
/// the transposed convolution when the layer is built, whose result the other half is added to in place; biases cancel
/// in the norm. So the block holds two volumes of its grid at most, this result and the one of its convolutions.
struct UpShortcut {
  PackedMatrix up;    // [in, 8 * out], as pack_conv_transpose3d has it
  PackedMatrix skip;  // [skip, out]
  NormWeights norm;

  UpShortcut(const Weights& w, const Tensor& up_kernel, int64_t skip_channels, int64_t out, const BlockStyle& style);
  Features operator()(const Tensor& low, const Tensor& skip_features) const;
};

/// A residual block of an up-sampled volume (first) and a skip connection.
struct ResidualUpBlock {
  UpBlock conv1;
  ConvBlock conv2;
  UpShortcut shortcut;
  float slope;

  ResidualUpBlock(const Weights& up, const Weights& block, const Weights& shortcut, int64_t from,
                  const BackboneLayer* planned, const BlockStyle& style);
  Features operator()(Tensor low, Tensor skip) const;  // the result is final

 private:
  ResidualUpBlock(const Weights& up, const Tensor& up_kernel, const Weights& block, const Weights& shortcut,
                  const BackboneLayer* planned, const BlockStyle& style);
};

}  // namespace sat
