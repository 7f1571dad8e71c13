// The U-Net's forward pass, written in the order in which its buffers die.
#include "sat/nn/sat/unet3d.h"

#include <algorithm>
#include <utility>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

// What a convolution may be off by, rms, of its output's deviation. The norms over the few voxels of the coarsest grid
// magnify what the encoder leaves, by some 40 where there are four of them; nothing magnifies what the decoder leaves.
constexpr double kDecoderError = 1e-5, kEncoderError = 1e-5, kEncoderErrorFewVoxels = 5e-7;
constexpr int64_t kFewVoxels = 64;

double encoder_error(const std::array<int64_t, 3>& coarsest) {
  return coarsest[0] * coarsest[1] * coarsest[2] < kFewVoxels ? kEncoderErrorFewVoxels : kEncoderError;
}

/// Multiply-adds of a block per voxel of the full-resolution window: stage s has 1/8^s of the voxels.
double work_of(const ConvBlockWeight& weight, size_t stage) {
  return double(weight.in * weight.out) / double(int64_t(1) << (3 * stage));
}

/// The grid that stage `stage` has in the largest of the model's windows.
std::array<int64_t, 3> usual_grid(const SatConfig& config, size_t stage) {
  const std::array<int64_t, 3> published = ModalityConfig().window;
  std::array<int64_t, 3> grid{1, 1, 1};
  for (size_t axis = 0; config.modalities.empty() && axis < 3; ++axis) grid[axis] = published[axis] >> stage;
  for (const auto& [name, modality] : config.modalities) {
    for (size_t axis = 0; axis < 3; ++axis) grid[axis] = std::max(grid[axis], modality.window[axis] >> stage);
  }
  return grid;
}

/// [out, in, 3, 3, 3] -> [out, 1, 3, 3, 3]
Tensor summed_over_inputs(const Tensor& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  Tensor sum({out, 1, 3, 3, 3});
  const float* from = weight.address<float>();
  float* to = sum.address<float>();
  parallel_for(out * 27, 27, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      double total = 0;
      for (int64_t c = 0; c < in; ++c) total += double(from[(i / 27 * in + c) * 27 + i % 27]);
      to[i] = float(total);
    }
  });
  return sum;
}

}  // namespace

ConvBlockNorm::ConvBlockNorm(const Weights& w, int64_t out)
    : norm{to_compute_device((w / "norm").get("weight", {out})), to_compute_device((w / "norm").get("bias", {out}))},
      bias(w.kept((w / "conv").get("bias", {out}))) {}

ConvBlock::ConvBlock(const Weights& w, const BackboneLayer& planned, bool takes_grey)
    : ConvBlockNorm(w, planned.channels.out) {
  const Tensor kernel = (w / "conv").get("weight", {planned.channels.out, planned.channels.in, 3, 3, 3});
  weight = pack_conv_block(kernel, planned.site);
  weight.published = w.kept(kernel);
  if (takes_grey && !w.training()) grey = pack_conv_block(summed_over_inputs(kernel), planned.site);
}

Features ConvBlock::operator()(Features x) const {
  const bool is_grey = grey && x.values.shape[4] == 1;
  return conv3d_norm(std::move(x), is_grey ? *grey : weight, norm);
}

UpBlock::UpBlock(const Weights& up, const Weights& block, int64_t from, const BackboneLayer& planned)
    : ConvBlockNorm(block, planned.channels.out) {
  const ConvChannels& channels = planned.channels;
  const Tensor kernel = (block / "conv").get("weight", {channels.out, channels.in, 3, 3, 3});
  const Tensor up_kernel = up.get("weight", {from, channels.up, 2, 2, 2}), up_bias = up.get("bias", {channels.up});
  weight = pack_up_block(kernel, up_kernel, up_bias, planned.site);
  weight.up.published = up.kept(up_kernel);
  weight.conv.published = block.kept(kernel);
}

Features UpBlock::operator()(Features low, Features skip) const {
  return conv3d_norm_up(std::move(low), std::move(skip), weight, norm);
}

std::vector<BackboneLayer> backbone_layers(const SatConfig& config) {
  const auto& channels = config.channels;
  std::vector<BackboneLayer> layers;
  const auto add = [&](const std::string& part, size_t stage, int64_t block, ConvChannels of_layer, int64_t stride,
                       double most_error) {
    BackboneLayer layer{part + " " + std::to_string(stage) + "." + std::to_string(block), {}, of_layer, {}};
    layer.site = {stride, usual_grid(config, stage), int(stage), most_error};
    if (!layers.empty()) layer.site.input = layers.back().choice.store;  // the first reads the image
    layer.choice = choose_conv(layer.site, of_layer);
    layers.push_back(std::move(layer));
  };
  const double most_error = encoder_error(usual_grid(config, channels.size() - 1));
  for (size_t s = 0; s < channels.size(); ++s) {
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j) {
      const int64_t in = j > 0 ? channels[s] : s > 0 ? channels[s - 1] : config.in_channels;
      add("encoder", s, j, {in, channels[s]}, j == 0 && s > 0 ? 2 : 1, most_error);
    }
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const size_t s = channels.size() - 2 - d;
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j) {
      const bool joins = j == 0;
      add("decoder", s, j, {joins ? 2 * channels[s] : channels[s], channels[s], joins ? channels[s] : 0}, 1,
          kDecoderError);
    }
  }
  return layers;
}

UNet3d::UNet3d(const Weights& backbone, const SatConfig& config) {
  const auto& channels = config.channels;
  const std::vector<BackboneLayer> layers = backbone_layers(config);
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

BackboneOutput UNet3d::operator()(Tensor x, bool all_scales, const std::function<void(double)>& on_progress,
                                  const Probe& probe) const {
  const size_t stages = encoder_.size();
  double total = 0, done = 0;
  for (size_t s = 0; s < stages; ++s) {
    for (const ConvBlock& block : encoder_[s]) total += work_of(block.weight, s);
  }
  for (size_t d = 0; d < decoder_.size(); ++d) {
    total += work_of(decoder_[d].first.weight.conv, stages - 2 - d);
    for (const ConvBlock& block : decoder_[d].blocks) total += work_of(block.weight, stages - 2 - d);
  }
  const auto report = [&](const ConvBlockWeight& weight, size_t stage) {
    done += work_of(weight, stage);
    if (on_progress) on_progress(done / total);
  };

  // Encoder: every stage's output is kept for the decoder, and averaged to the coarsest grid for the tokens.
  BackboneOutput output;
  std::vector<Features> skips;
  Features features{std::exchange(x, Tensor())};
  for (size_t s = 0; s < stages; ++s) {
    for (const ConvBlock& block : encoder_[s]) {
      features = block(std::move(features));
      report(block.weight, s);
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
    features = stage.first(std::move(features), std::exchange(skips[scale], Features()));
    report(stage.first.weight.conv, scale);
    for (const ConvBlock& block : stage.blocks) {
      features = block(std::move(features));
      report(block.weight, scale);
    }
    if (probe) probe("decoder " + std::to_string(scale), materialize(features));
    if (all_scales || scale == 0) output.per_voxel.insert(output.per_voxel.begin(), features);
  }
  return output;
}

}  // namespace sat
