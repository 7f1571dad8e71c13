// The U-Net's forward pass, written in the order in which its buffers die.
#include "sat/nn/sat/unet3d.h"

#include <algorithm>
#include <utility>

#include "sat/tensor/accelerator.h"
#include "sat/tensor/context.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

// What a convolution may be off by (conv_method.h). The norms over the few voxels of the coarsest grid magnify what the
// encoder leaves, by some 40 where there are four of them; nothing magnifies what the decoder leaves.
constexpr double kDecoderError = 1e-5, kEncoderError = 1e-5, kEncoderErrorFewVoxels = 5e-7;
constexpr int64_t kFewVoxels = 64;

// Stages that fast precision holds in f16: the others are too small to matter for memory, and matter for accuracy.
constexpr size_t kHalfWidthStages = 2;

// Stages whose up-sampling an accelerator may hold in the weights of the convolution behind it: 64 / 27 of the bytes a
// channel pair, which does not matter there.
constexpr size_t kComposedStages = 3;

double encoder_error(const std::array<int64_t, 3>& coarsest) {
  return coarsest[0] * coarsest[1] * coarsest[2] < kFewVoxels ? kEncoderErrorFewVoxels : kEncoderError;
}

/// Multiply-adds of a block per voxel of the full-resolution window: stage s has 1/8^s of the voxels.
double block_work(const ConvBlock& block, size_t stage) {
  return double(block.weight.in * block.weight.out) / double(int64_t(1) << (3 * stage));
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
  const Tensor sum({out, 1, 3, 3, 3});
  parallel_for(out * 27, 27, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      double total = 0;
      for (int64_t c = 0; c < in; ++c) total += double(weight.data<float>()[(i / 27 * in + c) * 27 + i % 27]);
      sum.data<float>()[i] = float(total);
    }
  });
  return sum;
}

}  // namespace

ConvBlock::ConvBlock(const Weights& w, const BackboneLayer& planned, bool takes_grey)
    : stride(planned.layer.stride), store(planned.store) {
  const int64_t in = planned.layer.in, out = planned.layer.out;
  const Tensor kernel = (w / "conv").get("weight", {out, in, 3, 3, 3});
  weight = pack_conv3d(kernel, planned.method, planned.first_in, planned.input);
  norm = {resident((w / "norm").get("weight", {out})), resident((w / "norm").get("bias", {out}))};
  if (takes_grey) grey = pack_conv3d(summed_over_inputs(kernel));
  (w / "conv").get("bias", {out});  // must be there as published, and cancels
}

Features ConvBlock::operator()(Features x) const {
  const bool is_grey = grey && x.values.shape[4] == 1;
  return conv3d_norm(std::move(x), is_grey ? *grey : weight, norm, stride, store);
}

std::vector<BackboneLayer> backbone_layers(const SatConfig& config) {
  const auto& channels = config.channels;
  const Context& context = Context::current();
  std::vector<BackboneLayer> layers;
  const auto add = [&](const std::string& part, size_t stage, int64_t block, ConvLayer layer, int64_t first_in) {
    layer.grid = usual_grid(config, stage);
    BackboneLayer planned{part + " " + std::to_string(stage) + "." + std::to_string(block), layer, first_in};
    if (context.accelerator()) {
      planned.store = context.accelerator()->feature_type(context.precision());
    } else {
      planned.method = choose_conv_method(layer, context.precision(), context.cpu());
      if (context.precision() == Precision::fast && stage < kHalfWidthStages) planned.store = DType::f16;
    }
    if (!layers.empty()) planned.input = layers.back().store;  // the first reads the image
    layers.push_back(std::move(planned));
  };
  const double most_error = encoder_error(usual_grid(config, channels.size() - 1));
  for (size_t s = 0; s < channels.size(); ++s) {
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j) {
      const int64_t in = j > 0 ? channels[s] : s > 0 ? channels[s - 1] : config.in_channels;
      add("encoder", s, j, {in, channels[s], 3, j == 0 && s > 0 ? 2 : 1, {}, most_error}, 0);
    }
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const size_t s = channels.size() - 2 - d;
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j) {
      add("decoder", s, j, {j == 0 ? 2 * channels[s] : channels[s], channels[s], 3, 1, {}, kDecoderError},
          j == 0 ? channels[s] : 0);
    }
  }
  return layers;
}

UNet3d::UNet3d(const Weights& backbone, const SatConfig& config, const std::vector<BackboneLayer>& layers) {
  const auto& channels = config.channels;
  const size_t needed = backbone_layers(config).size();
  SAT_CHECK(layers.size() == needed, "a network of ", needed, " convolutions is told how to compute ", layers.size());
  const Weights encoder = backbone / "encoder" / "stages", decoder = backbone / "decoder";
  auto planned = layers.begin();
  for (size_t s = 0; s < channels.size(); ++s) {
    Stage stage;
    for (int64_t j = 0; j < config.encoder_blocks[s]; ++j, ++planned) {
      const bool takes_grey = planned == layers.begin() && config.in_channels > 1;
      stage.blocks.emplace_back(encoder / int64_t(s) / 0 / "convs" / j, *planned, takes_grey);
    }
    encoder_.push_back(std::move(stage));
  }
  for (size_t d = 0; d + 1 < channels.size(); ++d) {
    const int64_t from = channels[channels.size() - 1 - d], to = channels[channels.size() - 2 - d];
    UpStage stage;
    const Weights up = decoder / "transpconvs" / int64_t(d);
    stage.up = pack_conv_transpose3d(up.get("weight", {from, to, 2, 2, 2}));
    stage.up_bias = resident(up.get("bias", {to}));
    for (int64_t j = 0; j < config.decoder_blocks[d]; ++j, ++planned) {
      stage.blocks.emplace_back(decoder / "stages" / int64_t(d) / "convs" / j, *planned);
    }
    if (Context::current().accelerator() && channels.size() - 2 - d < kComposedStages) {
      const Tensor kernel =
          (decoder / "stages" / int64_t(d) / "convs" / 0 / "conv").get("weight", {to, 2 * to, 3, 3, 3});
      compose_up(stage.blocks[0].weight, kernel, up.get("weight", {from, to, 2, 2, 2}), up.get("bias", {to}));
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
  const auto finished_block = [&](const ConvBlock& block, size_t stage) {
    done += block_work(block, stage);
    if (on_progress) on_progress(done / total);
  };

  // Encoder: every stage's output is kept for the decoder, and averaged to the coarsest grid for the tokens.
  BackboneOutput output;
  std::vector<Features> skips;
  Features features{std::exchange(x, Tensor())};
  for (size_t s = 0; s < stages; ++s) {
    for (const ConvBlock& block : encoder_[s].blocks) {
      features = block(std::move(features));
      finished_block(block, s);
    }
    if (probe) probe("encoder " + std::to_string(s), finished(features));
    output.pooled.push_back(avg_pool3d(features, int64_t(1) << (stages - 1 - s)));
    if (s + 1 < stages) skips.push_back(features);
  }

  // Decoder: from the coarsest grid up; neither the up-sampled nor the joined input exists as a whole, and each skip is
  // written over when it has been read.
  for (size_t d = 0; d < decoder_.size(); ++d) {
    const UpStage& stage = decoder_[d];
    const size_t scale = stages - 2 - d;
    features = conv3d_norm_up(std::move(features), stage.up, stage.up_bias, std::exchange(skips[scale], Features()),
                              stage.blocks[0].weight, stage.blocks[0].norm, stage.blocks[0].store);
    finished_block(stage.blocks[0], scale);
    for (size_t j = 1; j < stage.blocks.size(); ++j) {
      features = stage.blocks[j](std::move(features));
      finished_block(stage.blocks[j], scale);
    }
    if (probe) probe("decoder " + std::to_string(scale), finished(features));
    if (all_scales || scale == 0) output.per_voxel.insert(output.per_voxel.begin(), features);
  }
  return output;
}

}  // namespace sat
