// Private. The SwinUNETR backbone of SAT: a Swin transformer whose stages, like the image itself, pass through residual
// convolutions, and a decoder of residual convolutions (spec b.3).
#pragma once

#include <vector>

#include "sat/nn/sat/backbones/residual_block.h"
#include "sat/nn/sat/backbones/swin/swin_transformer.h"

namespace sat {

/// Weights: backbone.encoder.swinViT, backbone.encoder.encoder{1..}.layer,
/// backbone.decoder{..1}.{transp_conv,conv_block}. Norms of the convolutions learn nothing, and these have no biases.
///
/// Differs: the published code at its head builds this network and then fails for want of a U-Net of that name, so the
/// published checkpoint cannot be run by it. Here it is what the code around it means.
class SwinUnetr : public Backbone {
 public:
  SwinUnetr(const Weights& backbone, const SatConfig& config);

 private:
  BackboneOutput run(Tensor x, bool all_scales, const OnProgress& on_progress, const Probe& probe) const override;

  std::vector<BackboneLayer> layers_;
  SwinTransformer transformer_;
  std::vector<ResidualBlock> encoder_;    // of the image, and of each output of the transformer
  std::vector<ResidualUpBlock> decoder_;  // coarsest first
};

}  // namespace sat
