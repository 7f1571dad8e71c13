// The U-Net's forward pass, written in the order in which its buffers die.
#include "sat/nn/sat/backbones/unet3d.h"

#include <utility>

#include "sat/nn/sat/backbones/layer_plan.h"
#include "sat/tensor/autograd/recompute.h"

namespace sat {

namespace {

/// Multiply-adds of a block per voxel of the full-resolution window: stage s has 1/8^s of the voxels.
double work_of(const ConvBlockWeight& weight, size_t stage) {
  return double(weight.in * weight.out) / double(int64_t(1) << (3 * stage));
}

}  // namespace

std::vector<BackboneLayer> unet3d_layers(const SatConfig& config) {
  const auto& channels = config.channels;
  LayerPlan plan(config);
  for (size_t s = 0; s < channels.size(); ++s) {
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j) {
      const int64_t in = j > 0 ? channels[s] : s > 0 ? channels[s - 1] : config.in_channels;
      plan.add("encoder", s, j, {in, channels[s]}, j == 0 && s > 0 ? 2 : 1, s == 0 && j == 0);
    }
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const size_t s = channels.size() - 2 - d;
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j) {
      const bool joins = j == 0;
      plan.add("decoder", s, j, {joins ? 2 * channels[s] : channels[s], channels[s], joins ? channels[s] : 0}, 1,
               false);
    }
  }
  return std::move(plan).layers();
}

UNet3d::UNet3d(const Weights& backbone, const SatConfig& config) {
  const auto& channels = config.channels;
  const std::vector<BackboneLayer> layers = unet3d_layers(config);
  const Weights encoder = backbone / "encoder" / "stages", decoder = backbone / "decoder";
  auto planned = layers.begin();
  for (size_t s = 0; s < channels.size(); ++s) {
    std::vector<ConvBlock> stage;
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j, ++planned) {
      const bool takes_grey = planned == layers.begin() && config.in_channels > 1;
      stage.emplace_back(encoder / int64_t(s) / 0 / "convs" / j, *planned, takes_grey);
    }
    encoder_.push_back(std::move(stage));
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const Weights convs = decoder / "stages" / int64_t(d) / "convs";
    const int64_t from = channels[channels.size() - 1 - d];
    UpStage stage{UpBlock(decoder / "transpconvs" / int64_t(d), convs / 0, from, *planned++), {}};
    for (int64_t j = 1; j < config.decoder_blocks[d]; ++j, ++planned) stage.blocks.emplace_back(convs / j, *planned);
    decoder_.push_back(std::move(stage));
  }
}

BackboneOutput UNet3d::run(Tensor x, bool all_scales, const OnProgress& on_progress, const Probe& probe) const {
  const size_t stages = encoder_.size();
  double total = 0;
  for (size_t s = 0; s < stages; ++s) {
    for (const ConvBlock& block : encoder_[s]) total += work_of(block.weight, s);
  }
  for (size_t d = 0; d < decoder_.size(); ++d) {
    total += work_of(decoder_[d].first.weight.conv, stages - 2 - d);
    for (const ConvBlock& block : decoder_[d].blocks) total += work_of(block.weight, stages - 2 - d);
  }
  Progress progress(total, on_progress);

  // Encoder: every stage's output is kept for the decoder, and averaged to the coarsest grid for the tokens.
  BackboneOutput output;
  std::vector<Features> skips;
  Features features{std::exchange(x, Tensor())};
  for (size_t s = 0; s < stages; ++s) {
    if (recomputes(s)) {
      features =
          recomputed({features}, [blocks = encoder_[s]](const auto& inputs) { return in_turn(blocks, inputs[0]); });
    } else {
      for (const ConvBlock& block : encoder_[s]) {
        features = block(std::move(features));
        progress.add(work_of(block.weight, s));
      }
    }
    if (probe) probe("encoder " + std::to_string(s), materialize(features));
    output.pooled.push_back(avg_pool3d(features, int64_t(1) << (stages - 1 - s)));
    if (s + 1 < stages) skips.push_back(features);
  }

  // Decoder: from the coarsest grid up; neither the up-sampled nor the joined input exists as a whole, and each skip is
  // written over when it has been read.
  for (size_t d = 0; d < decoder_.size(); ++d) {
    const UpStage& stage = decoder_[d];
    const size_t scale = stages - 2 - d;
    Features skip = std::exchange(skips[scale], Features());
    if (recomputes(scale)) {
      features = recomputed({features, skip}, [stage](const auto& inputs) {
        return in_turn(stage.blocks, stage.first(inputs[0], inputs[1]));
      });
    } else {
      features = stage.first(std::move(features), std::move(skip));
      progress.add(work_of(stage.first.weight.conv, scale));
      for (const ConvBlock& block : stage.blocks) {
        features = block(std::move(features));
        progress.add(work_of(block.weight, scale));
      }
    }
    if (probe) probe("decoder " + std::to_string(scale), materialize(features));
    if (all_scales || scale == 0) output.per_voxel.insert(output.per_voxel.begin(), features);
  }
  return output;
}

}  // namespace sat
