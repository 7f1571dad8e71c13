// The U-Net's forward pass, written in the order in which its buffers die.
#include "sat/nn/unet3d.h"

#include <utility>

namespace sat {

namespace {

constexpr float kNormEps = 1e-5f;
constexpr float kSlope = 0.01f;  // of the leaky ReLU

/// Multiply-adds of a block per voxel of the full-resolution window: stage s has 1/8^s of the voxels.
double block_work(const ConvBlock& block, size_t stage) {
  return double(block.weight.in * block.weight.out) / double(int64_t(1) << (3 * stage));
}

}  // namespace

ConvBlock::ConvBlock(const Weights& w, int64_t in, int64_t out, int64_t stride_)
    : weight(pack_conv3d((w / "conv").get("weight", {out, in, 3, 3, 3}))),
      bias((w / "conv").get("bias", {out})),
      gain((w / "norm").get("weight", {out})),
      shift((w / "norm").get("bias", {out})),
      stride(stride_) {}

Tensor ConvBlock::operator()(Tensor x) const {
  Tensor y = conv3d(x, weight, bias, {stride, 1});
  x = Tensor();
  return instance_norm_leaky_relu(std::move(y), gain, shift, kNormEps, kSlope);
}

Tensor ConvBlock::joined(Tensor x, Tensor skip) const {
  Tensor y = conv3d_joined(x, skip, weight, bias, {stride, 1});
  x = skip = Tensor();
  return instance_norm_leaky_relu(std::move(y), gain, shift, kNormEps, kSlope);
}

UNet3d::UNet3d(const Weights& backbone, const SatConfig& config) {
  const auto& channels = config.channels;
  const Weights encoder = backbone / "encoder" / "stages", decoder = backbone / "decoder";
  for (size_t s = 0; s < channels.size(); ++s) {
    Stage stage;
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j) {
      const int64_t in = j > 0 ? channels[s] : s > 0 ? channels[s - 1] : config.in_channels;
      const int64_t stride = j == 0 && s > 0 ? 2 : 1;
      stage.blocks.emplace_back(encoder / int64_t(s) / 0 / "convs" / j, in, channels[s], stride);
    }
    encoder_.push_back(std::move(stage));
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const int64_t from = channels[channels.size() - 1 - d], to = channels[channels.size() - 2 - d];
    UpStage stage;
    const Weights up = decoder / "transpconvs" / int64_t(d);
    stage.up = pack_conv_transpose3d(up.get("weight", {from, to, 2, 2, 2}));
    stage.up_bias = up.get("bias", {to});
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j) {
      stage.blocks.emplace_back(decoder / "stages" / int64_t(d) / "convs" / j, j == 0 ? 2 * to : to, to, 1);
    }
    decoder_.push_back(std::move(stage));
  }
}

BackboneOutput UNet3d::operator()(Tensor x, bool all_scales, const std::function<void(double)>& on_progress,
                                  const Probe& probe) const {
  const size_t stages = encoder_.size();
  double total = 0, done = 0;
  for (size_t s = 0; s < stages; ++s) {
    for (const ConvBlock& block : encoder_[s].blocks) total += block_work(block, s);
  }
  for (size_t d = 0; d < decoder_.size(); ++d) {
    for (const ConvBlock& block : decoder_[d].blocks) total += block_work(block, stages - 2 - d);
  }
  const auto finished = [&](const ConvBlock& block, size_t stage) {
    done += block_work(block, stage);
    if (on_progress) on_progress(done / total);
  };

  // Encoder: every stage's output is kept for the decoder, and averaged to the coarsest grid for the tokens.
  BackboneOutput output;
  std::vector<Tensor> skips;
  for (size_t s = 0; s < stages; ++s) {
    for (const ConvBlock& block : encoder_[s].blocks) {
      x = block(std::move(x));
      finished(block, s);
    }
    if (probe) probe("encoder " + std::to_string(s), x);
    output.pooled.push_back(avg_pool3d(x, int64_t(1) << (stages - 1 - s)));
    if (s + 1 < stages) skips.push_back(x);
  }

  // Decoder: from the coarsest grid up; the joined input never exists, and each skip dies when it has been read.
  for (size_t d = 0; d < decoder_.size(); ++d) {
    const UpStage& stage = decoder_[d];
    const size_t scale = stages - 2 - d;
    x = conv_transpose3d(x, stage.up, stage.up_bias);
    x = stage.blocks[0].joined(std::move(x), std::exchange(skips[scale], Tensor()));
    finished(stage.blocks[0], scale);
    for (size_t j = 1; j < stage.blocks.size(); ++j) {
      x = stage.blocks[j](std::move(x));
      finished(stage.blocks[j], scale);
    }
    if (probe) probe("decoder " + std::to_string(scale), x);
    if (all_scales || scale == 0) output.per_voxel.insert(output.per_voxel.begin(), x);
  }
  return output;
}

}  // namespace sat
