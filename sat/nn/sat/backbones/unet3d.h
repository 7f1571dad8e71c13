// Private. The plain-conv 3-D U-Net under SAT: UNET, UNET-L, UNET-H and any other widths and depths (spec b.1).
#pragma once

#include <vector>

#include "sat/nn/sat/backbones/conv_block.h"

namespace sat {

/// Encoder stages of stride 1, 2, 2, ...; decoder stages of transposed convolution, join (up-sampled first, skip
/// second) and blocks. Weights: backbone.encoder.stages.{s}.0.convs.{j}, backbone.decoder.{transpconvs,stages}.{d}.
class UNet3d : public Backbone {
 public:
  UNet3d(const Weights& backbone, const SatConfig& config);

 private:
  BackboneOutput run(Tensor x, bool all_scales, const OnProgress& on_progress, const Probe& probe) const override;

  struct UpStage {
    UpBlock first;
    std::vector<ConvBlock> blocks;  // those behind it
  };
  std::vector<std::vector<ConvBlock>> encoder_;  // by stage
  std::vector<UpStage> decoder_;
};

}  // namespace sat
