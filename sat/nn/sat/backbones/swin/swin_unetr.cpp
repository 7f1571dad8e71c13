// SwinUNETR's forward pass, written in the order in which its buffers die.
#include "sat/nn/sat/backbones/swin/swin_unetr.h"

#include <utility>

#include "sat/nn/sat/backbones/layer_plan.h"

namespace sat {

namespace {

constexpr BlockStyle kStyle{false, 0.01f};

}  // namespace

std::vector<BackboneLayer> swin_unetr_layers(const SatConfig& config) {
  const auto& channels = config.channels;
  LayerPlan plan(config);
  for (size_t s = 0; s < channels.size(); ++s) {
    plan.add("encoder", s, 0, {s == 0 ? config.in_channels : channels[s], channels[s]}, 1, true);
    plan.add("encoder", s, 1, {channels[s], channels[s]}, 1, false);
  }
  for (size_t s = channels.size() - 1; s-- > 0;) {
    plan.add("decoder", s, 0, {2 * channels[s], channels[s], channels[s]}, 1, true);
    plan.add("decoder", s, 1, {channels[s], channels[s]}, 1, false);
  }
  return std::move(plan).layers();
}

SwinUnetr::SwinUnetr(const Weights& backbone, const SatConfig& config)
    : layers_(swin_unetr_layers(config)), transformer_(backbone / "encoder" / "swinViT", config) {
  const auto& channels = config.channels;
  const BackboneLayer* planned = layers_.data();
  for (size_t s = 0; s < channels.size(); ++s, planned += 2) {
    const Weights block = backbone / "encoder" / ("encoder" + std::to_string(s + 1)) / "layer";
    encoder_.emplace_back(block, block / "conv3", planned, kStyle, s == 0 && config.in_channels > 1);
  }
  for (size_t s = channels.size() - 1; s-- > 0; planned += 2) {
    const Weights up = backbone / ("decoder" + std::to_string(s + 1)), block = up / "conv_block";
    decoder_.emplace_back(up / "transp_conv" / "conv", block, block / "conv3", channels[s + 1], planned, kStyle);
  }
}

BackboneOutput SwinUnetr::run(Tensor x, bool all_scales, const OnProgress& on_progress, const Probe& probe) const {
  const size_t stages = encoder_.size();
  Progress progress(work_of(layers_), on_progress);
  const BackboneLayer* done = layers_.data();
  const auto report = [&] {
    for (int convolution = 0; convolution < 2; ++convolution) progress.add((done++)->work());
  };

  // Encoder: the image and the transformer's tokens on each grid, through convolutions; kept for the decoder, and
  // averaged to the coarsest grid for the tokens of the whole.
  std::vector<Tensor> inputs = transformer_(x);
  inputs.insert(inputs.begin(), std::exchange(x, Tensor()));
  BackboneOutput output;
  std::vector<Tensor> skips;
  Features features;
  for (size_t s = 0; s < stages; ++s) {
    features = encoder_[s](Features{std::exchange(inputs[s], Tensor())});
    report();
    if (probe) probe("encoder " + std::to_string(s), features.values);
    output.pooled.push_back(avg_pool3d(features, int64_t(1) << (stages - 1 - s)));
    if (s + 1 < stages) skips.push_back(features.values);
  }

  // Decoder: from the coarsest grid up. Each skip dies in the block that reads it.
  for (size_t d = 0; d < decoder_.size(); ++d) {
    const size_t scale = stages - 2 - d;
    Tensor low = std::exchange(features, Features()).values;
    features = decoder_[d](std::move(low), std::exchange(skips[scale], Tensor()));
    report();
    if (probe) probe("decoder " + std::to_string(scale), features.values);
    if (all_scales || scale == 0) output.per_voxel.insert(output.per_voxel.begin(), features);
  }
  return output;
}

}  // namespace sat
