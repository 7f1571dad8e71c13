// The plain-conv 3-D U-Net under SAT: UNET, UNET-L, UNET-H and any other widths and depths (spec b.1).
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

/// One 3x3x3 convolution of the network, and how it is computed.
struct BackboneLayer {
  std::string name;  // "encoder 0.1": stage and number; "decoder 0.0" is at full resolution
  ConvLayer layer;
  int64_t first_in = 0;  // channels of the first of two joined inputs; 0: one input
  ConvMethod method = ConvMethod::direct;
  DType input = DType::f32;  // how what it reads is held
  DType store = DType::f32;  // how its result is held
};

/// All of them in the order of the forward pass, with the methods of the current context's CPU level and precision for
/// the largest window of the config. An accelerator chooses its own.
std::vector<BackboneLayer> backbone_layers(const SatConfig& config);

/// Convolution 3x3x3 -> instance norm -> leaky ReLU. The convolution's bias cancels in the norm and is not kept.
struct ConvBlock {
  PackedConv3d weight;
  std::optional<PackedConv3d> grey;  // the kernel summed over its inputs, for a grey image that stands for equal ones
  NormWeights norm;
  int64_t stride = 1;
  DType store = DType::f32;

  ConvBlock(const Weights& w, const BackboneLayer& planned, bool takes_grey = false);
  Features operator()(Features x) const;  // [B, H, W, D, in] -> [B, H/stride, ..., out]
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
  UNet3d(const Weights& backbone, const SatConfig& config) : UNet3d(backbone, config, backbone_layers(config)) {}
  /// With each convolution computed as `layers` say, which are those of backbone_layers() in number and order.
  UNet3d(const Weights& backbone, const SatConfig& config, const std::vector<BackboneLayer>& layers);

  /// x [B, H, W, D, in_channels], or [B, H, W, D, 1] for a grey image that stands for in_channels equal ones; H, W, D
  /// multiples of the total stride. `all_scales` keeps the decoder's outputs at 1/2, 1/4, ... too (deep supervision);
  /// otherwise only the full-resolution one is returned. Buffers die as soon as the next layer has read them, or are
  /// written over. `on_progress` hears the share of the work done.
  BackboneOutput operator()(Tensor x, bool all_scales = false, const std::function<void(double)>& on_progress = {},
                            const Probe& probe = {}) const;

 private:
  struct Stage {
    std::vector<ConvBlock> blocks;
  };
  struct UpStage {
    PackedMatrix up;
    Tensor up_bias;
    std::vector<ConvBlock> blocks;
  };
  std::vector<Stage> encoder_;
  std::vector<UpStage> decoder_;
};

}  // namespace sat
