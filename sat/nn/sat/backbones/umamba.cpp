// U-Mamba's forward pass, written in the order in which its buffers die.
#include "sat/nn/sat/backbones/umamba.h"

#include <utility>

#include "sat/nn/sat/backbones/layer_plan.h"

namespace sat {

std::vector<BackboneLayer> umamba_layers(const SatConfig& config) {
  const auto& channels = config.channels;
  LayerPlan plan(config);
  plan.add("stem", 0, 0, {config.in_channels, channels[0]}, 1, true);
  for (size_t s = 0; s < channels.size(); ++s) {
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j) {
      const bool first = j == 0 && s > 0;
      plan.add("encoder", s, 2 * j, {first ? channels[s - 1] : channels[s], channels[s]}, first ? 2 : 1, s + j > 0);
      plan.add("encoder", s, 2 * j + 1, {channels[s], channels[s]}, 1, false);
    }
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const size_t s = channels.size() - 2 - d;
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j) {
      const int64_t up = j == 0 ? channels[s] : 0;
      plan.add("decoder", s, 2 * j, {channels[s] + up, channels[s], up}, 1, true);
      plan.add("decoder", s, 2 * j + 1, {channels[s], channels[s]}, 1, false);
    }
  }
  return std::move(plan).layers();
}

UMamba::UMamba(const Weights& backbone, const SatConfig& config)
    : layers_(umamba_layers(config)),
      stem_(backbone / "encoder" / "stem" / "convs" / 0, layers_.front(), config.in_channels > 1) {
  const auto& channels = config.channels;
  const Weights encoder = backbone / "encoder", decoder = backbone / "decoder";
  const BackboneLayer* planned = layers_.data() + 1;
  for (size_t s = 0; s < channels.size(); ++s) {
    std::vector<ResidualBlock> stage;
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j, planned += 2) {
      const Weights block = encoder / "stages" / int64_t(s) / "blocks" / j;
      stage.emplace_back(block, block / "skip" / (j == 0 && s > 0 ? 1 : 0), planned, BlockStyle{});  // 0: the pooling
    }
    encoder_.push_back(std::move(stage));
  }
  for (int64_t m = 0; m < config.mamba_layers; ++m) {
    mamba_.emplace_back(encoder / "mamba_layers" / m, channels[channels.size() - size_t(config.mamba_layers - m)]);
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const Weights blocks = decoder / "stages" / int64_t(d) / "blocks";
    UpStage stage{ResidualUpBlock(decoder / "transpconvs" / int64_t(d), blocks / 0, blocks / 0 / "skip" / 0,
                                  channels[channels.size() - 1 - d], planned, BlockStyle{}),
                  {}};
    planned += 2;
    for (int64_t j = 1; j < config.decoder_blocks[d]; ++j, planned += 2) {
      stage.blocks.emplace_back(blocks / j, blocks / j / "skip" / 0, planned, BlockStyle{});
    }
    decoder_.push_back(std::move(stage));
  }
}

BackboneOutput UMamba::run(Tensor x, bool /*all_scales*/, const OnProgress& on_progress, const Probe& probe) const {
  const size_t stages = encoder_.size(), first_mamba = stages - mamba_.size();
  Progress progress(work_of(layers_), on_progress);
  const BackboneLayer* done = layers_.data();
  const auto report = [&](int convolutions) {
    for (; convolutions > 0; --convolutions) progress.add((done++)->work());
  };

  // Encoder: every stage's output is kept for the decoder, and averaged to the coarsest grid for the tokens.
  BackboneOutput output;
  std::vector<Tensor> skips;
  Features features = stem_(Features{std::exchange(x, Tensor())});
  report(1);
  for (size_t s = 0; s < stages; ++s) {
    for (const ResidualBlock& block : encoder_[s]) {
      features = block(std::move(features));
      report(2);
    }
    if (s >= first_mamba) features.values = mamba_[s - first_mamba](features.values);
    if (probe) probe("encoder " + std::to_string(s), features.values);
    output.pooled.push_back(avg_pool3d(features, int64_t(1) << (stages - 1 - s)));
    if (s + 1 < stages) skips.push_back(features.values);
  }

  // Decoder: from the coarsest grid up. Each skip dies in the block that reads it.
  for (size_t d = 0; d < decoder_.size(); ++d) {
    const UpStage& stage = decoder_[d];
    const size_t scale = stages - 2 - d;
    Tensor low = std::exchange(features, Features()).values;
    features = stage.first(std::move(low), std::exchange(skips[scale], Tensor()));
    report(2);
    for (const ResidualBlock& block : stage.blocks) {
      features = block(std::move(features));
      report(2);
    }
    if (probe) probe("decoder " + std::to_string(scale), features.values);
  }
  output.per_voxel.push_back(std::move(features));
  return output;
}

}  // namespace sat
