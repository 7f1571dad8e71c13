// Private. The U-Mamba backbone of SAT: a residual U-Net whose deepest encoder stages end in a Mamba layer (spec b.2).
#pragma once

#include <vector>

#include "sat/nn/sat/backbones/mamba.h"
#include "sat/nn/sat/backbones/residual_block.h"

namespace sat {

/// Weights: backbone.encoder.stem, backbone.encoder.{stages.{s}.blocks.{j}, mamba_layers.{m}} and
/// backbone.decoder.{transpconvs, stages.{d}.blocks.{j}}.
///
/// QUIRK (parity): whatever is asked for, it returns the full-resolution output alone. The published code never passes
/// the deep-supervision flag to this backbone, so its heads for coarser scales are in checkpoints and have no input.
class UMamba : public Backbone {
 public:
  UMamba(const Weights& backbone, const SatConfig& config);

 private:
  BackboneOutput run(Tensor x, bool all_scales, const OnProgress& on_progress, const Probe& probe) const override;

  struct UpStage {
    ResidualUpBlock first;
    std::vector<ResidualBlock> blocks;  // those behind it
  };
  std::vector<BackboneLayer> layers_;
  ConvBlock stem_;
  std::vector<std::vector<ResidualBlock>> encoder_;  // by stage
  std::vector<MambaLayer> mamba_;                    // of the last stages
  std::vector<UpStage> decoder_;
};

}  // namespace sat
