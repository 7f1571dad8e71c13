// Private. Which convolutions a backbone has, in the order of its forward pass: each network lists its own, and packs
// its weights by the list.
#pragma once

#include "sat/nn/sat/backbones/backbone.h"

namespace sat {

/// A network's list as it grows: a layer reads what the one before it wrote, unless it says otherwise.
class LayerPlan {
 public:
  explicit LayerPlan(const SatConfig& config) : config_(config) {}

  /// Of the encoder or decoder (`part`), block `block` of stage `stage`; `reads_final`: final f32 values, as images,
  /// sums and transformers give them.
  void add(const std::string& part, size_t stage, int64_t block, const ConvChannels& channels, int64_t stride,
           bool reads_final);
  std::vector<BackboneLayer> layers() && { return std::move(layers_); }

 private:
  const SatConfig& config_;
  std::vector<BackboneLayer> layers_;
};

std::vector<BackboneLayer> unet3d_layers(const SatConfig& config);
std::vector<BackboneLayer> umamba_layers(const SatConfig& config);
std::vector<BackboneLayer> swin_unetr_layers(const SatConfig& config);

/// The share of a forward pass that is done, told to whoever wants to know.
class Progress {
 public:
  Progress(double total, const OnProgress& heard) : total_(total), heard_(heard) {}
  void add(double work) {
    done_ += work;
    if (heard_) heard_(done_ / total_);
  }

 private:
  double total_, done_ = 0;
  const OnProgress& heard_;
};

/// Of all its convolutions; the other steps of these networks are a few hundredths of them.
double work_of(const std::vector<BackboneLayer>& layers);

}  // namespace sat
