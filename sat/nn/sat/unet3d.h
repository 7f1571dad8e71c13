// Private. The plain-conv 3-D U-Net under SAT: UNET, UNET-L, UNET-H and any other widths and depths (spec b.1).
// Knows feature volumes only; prompts, tokens and masks are sat_model.h's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/weights.h"

namespace sat {

/// One 3x3x3 convolution of the network: where it stands, and what the backend chose for it.
struct BackboneLayer {
  std::string name;  // "encoder 0.1": stage and number; "decoder 0.0" is at full resolution
  ConvSite site;
  ConvChannels channels;
  ConvChoice choice;
};

/// All of them in the order of the forward pass, at the largest window of the config, as the current context computes.
std::vector<BackboneLayer> backbone_layers(const SatConfig& config);

/// What a block learns besides the convolution's weight. The convolution's bias cancels in the norm: a forward pass
/// does not read it.
struct ConvBlockNorm {
  NormWeights norm;
  Tensor bias;  // of the convolution, where the model is built for training; else empty

  ConvBlockNorm(const Weights& w, int64_t out);
};

/// Convolution 3x3x3 -> instance norm -> leaky ReLU.
struct ConvBlock : ConvBlockNorm {
  ConvBlockWeight weight;
  std::optional<ConvBlockWeight>
      grey;  // the kernel summed over its inputs, for a grey image that stands for equal ones

  ConvBlock(const Weights& w, const BackboneLayer& planned, bool takes_grey = false);
  Features operator()(Features x) const;  // [B, H, W, D, in] -> [B, H/stride, ..., out]
};

/// Up-sampling by a transposed convolution, join with a skip connection (up-sampled first), and a ConvBlock of both.
struct UpBlock : ConvBlockNorm {
  UpBlockWeight weight;

  UpBlock(const Weights& up, const Weights& block, int64_t from, const BackboneLayer& planned);
  Features operator()(Features low, Features skip) const;
};

/// Hears what passes, by name: "encoder 0" is full resolution, "decoder 0" the full-resolution output.
using Probe = std::function<void(const std::string& name, const Tensor& value)>;

struct BackboneOutput {
  std::vector<Tensor> pooled;       // every encoder stage averaged to the coarsest grid: [B, h, w, d, C_s]
  std::vector<Features> per_voxel;  // decoder outputs, full resolution first: [B, H/2^s, W/2^s, D/2^s, C_s]
};

/// Encoder stages of stride 1, 2, 2, ...; decoder stages of transposed convolution, join (up-sampled first, skip
/// second) and blocks. Weights: backbone.encoder.stages.{s}.0.convs.{j}, backbone.decoder.{transpconvs,stages}.{d}.
class UNet3d {
 public:
  UNet3d(const Weights& backbone, const SatConfig& config);

  /// x [B, H, W, D, in_channels], or [B, H, W, D, 1] for a grey image that stands for in_channels equal ones; H, W, D
  /// multiples of the total stride. `all_scales` keeps the decoder's outputs at 1/2, 1/4, ... too (deep supervision);
  /// otherwise only the full-resolution one is returned. Buffers die as soon as the next layer has read them, or are
  /// written over. `on_progress` hears the share of the work done.
  BackboneOutput operator()(Tensor x, bool all_scales = false, const std::function<void(double)>& on_progress = {},
                            const Probe& probe = {}) const;

 private:
  struct UpStage {
    UpBlock first;
    std::vector<ConvBlock> blocks;  // those behind it
  };
  std::vector<std::vector<ConvBlock>> encoder_;  // by stage
  std::vector<UpStage> decoder_;
};

}  // namespace sat
