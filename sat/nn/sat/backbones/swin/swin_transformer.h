// Private. The hierarchical transformer of SwinUNETR's encoder (spec b.3): attention inside shifted windows of a grid
// of tokens, which every stage halves.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "sat/nn/layers.h"
#include "sat/nn/sat/backbones/swin/swin_windows.h"
#include "sat/nn/sat/sat_config.h"

namespace sat {

/// x + attention inside windows, then x + an MLP, each of layer-normed tokens.
class SwinBlock {
 public:
  /// `usual`: numbers of tokens that windows of the model's own scans have; their biases are laid out once.
  SwinBlock(const Weights& w, int64_t channels, int64_t heads, int64_t window, const std::vector<int64_t>& usual);
  Tensor operator()(Tensor x, const SwinWindows& windows) const;  // [T, C] -> [T, C]

 private:
  Tensor laid_out(int64_t tokens) const;  // the bias of a window's pairs: [heads, n, n]

  int64_t heads_, window_;
  LayerNorm norm1_, norm2_;
  Linear query_, key_, value_, projection_, widen_, narrow_;
  Tensor table_;                    // [(2 window - 1)^3, heads]
  std::map<int64_t, Tensor> bias_;  // by the number of tokens
};

/// One stage: blocks, unshifted and shifted in turns, then the merging of 2 x 2 x 2 tokens into one of twice the width.
class SwinStage {
 public:
  SwinStage(const Weights& w, int64_t channels, int64_t heads, int64_t blocks, int64_t window,
            const std::vector<int64_t>& usual);
  Tensor operator()(Tensor x) const;  // [B, H, W, D, C] -> [B, H/2, W/2, D/2, 2 C]

 private:
  int64_t window_;
  std::vector<SwinBlock> blocks_;
  LayerNorm norm_;       // of the eight joined tokens
  PackedMatrix reduce_;  // [8 C] -> [2 C]
};

class SwinTransformer {
 public:
  SwinTransformer(const Weights& w, const SatConfig& config);

  /// An image [B, H, W, D, in_channels or 1] -> the patches' tokens and the output of every stage, each layer-normed
  /// without parameters; the next stage reads them as they were.
  std::vector<Tensor> operator()(const Tensor& image) const;

 private:
  PackedConv3d patches_;
  std::optional<PackedConv3d> grey_patches_;
  Tensor patch_bias_;
  std::vector<SwinStage> stages_;
};

}  // namespace sat
