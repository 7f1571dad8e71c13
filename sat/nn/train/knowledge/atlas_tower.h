// Private. The visual side of knowledge pre-training (spec m.2): an encoder of crops, the means of its stages over each
// structure's mask, and a projection to the width of texts. Knows masks, not what they are called.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sat/nn/layers.h"
#include "sat/nn/sat/backbones/conv_block.h"

namespace sat {

/// The encoders by the names that the published script gives them: "UNET" is SAT-Nano's, "UNET-H" is SAT-Pro's, and
/// "UNET-L" has SAT-Pro's widths with two convolutions a stage. Throws Error for another name. `crop`: the usual
/// size of images, in voxels.
/// QUIRK (parity): so "UNET-L" and "UNET-H" mean other networks than in segmentation.
SatConfig atlas_encoder_config(const std::string& name, const std::array<int64_t, 3>& crop);

/// Masks u8 [B, H, W, D, bytes] at half the resolution: a voxel is in a mask where one of its 2 x 2 x 2 is. Sizes are
/// even.
Tensor halved_masks(const Tensor& masks);

class AtlasTower {
 public:
  /// Weights w.encoder.stages.{s}.0.convs.{j} and w.projection_layer.{0, 2}; `encoder`: widths and depths.
  AtlasTower(const Weights& w, const SatConfig& encoder, int64_t width);

  /// One vector a sample and mask: images [B, H, W, D, in_channels] or of one grey channel, masks u8 [B, H, W, D,
  /// ceil(N / 8)] -> [B, N, width]. H, W, D are multiples of the encoder's total stride. `probe` hears "encoder s".
  Tensor operator()(const Tensor& images, const Tensor& masks, int64_t count, const Probe& probe = {}) const {
    return project(pool(images, masks, count, probe));
  }

  /// Its steps: the stages' means over the masks [B, N, sum of channels], in the order of the stages; the projection.
  Tensor pool(const Tensor& images, const Tensor& masks, int64_t count, const Probe& probe = {}) const;
  Tensor project(const Tensor& means) const { return projection_(means); }

  const SatConfig& config() const { return config_; }

 private:
  SatConfig config_;
  std::vector<std::vector<ConvBlock>> stages_;
  ActivatedMlp projection_;
};

}  // namespace sat
