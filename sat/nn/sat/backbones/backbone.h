// Private. The image side of SAT behind one call: a window in, features a voxel and averaged stages out. Which network
// computes them is the config's choice; prompts, tokens and masks are sat_model.h's.
#pragma once

#include <functional>
#include <memory>
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

  /// Multiply-adds per voxel of the full-resolution window, of one tap.
  double work() const { return double(channels.in * channels.out) / double(int64_t(1) << (3 * site.halvings)); }
};

/// All of them in the order of the forward pass, at the largest window of the config, as the current context computes.
std::vector<BackboneLayer> backbone_layers(const SatConfig& config);

/// Hears what passes, by name: "encoder 0" is full resolution, "decoder 0" the full-resolution output.
using Probe = std::function<void(const std::string& name, const Tensor& value)>;
/// Hears the share of the work done.
using OnProgress = std::function<void(double)>;

struct BackboneOutput {
  std::vector<Tensor> pooled;       // every encoder stage averaged to the coarsest grid: [B, h, w, d, C_s]
  std::vector<Features> per_voxel;  // decoder outputs, full resolution first: [B, H/2^s, W/2^s, D/2^s, C_s]
};

class Backbone {
 public:
  virtual ~Backbone() = default;

  /// x [B, H, W, D, in_channels], or [B, H, W, D, 1] for a grey image that stands for in_channels equal ones; H, W, D
  /// multiples of the total stride. `all_scales` keeps the decoder's outputs at 1/2, 1/4, ... too (deep supervision);
  /// otherwise only the full-resolution one is returned. Buffers die as soon as the next layer has read them, or are
  /// written over.
  BackboneOutput operator()(Tensor x, bool all_scales = false, const OnProgress& on_progress = {},
                            const Probe& probe = {}) const {
    return run(std::move(x), all_scales, on_progress, probe);
  }

 private:
  virtual BackboneOutput run(Tensor x, bool all_scales, const OnProgress& on_progress, const Probe& probe) const = 0;
};

/// The network that config.backbone names, of the weights below "backbone".
std::shared_ptr<const Backbone> make_backbone(const Weights& backbone, const SatConfig& config);

}  // namespace sat
