// Reading the sizes of a SAT checkpoint off its shapes.
#include "sat/nn/sat/recognise_config.h"

#include <cmath>

namespace sat {

namespace {

/// How many of list.0, list.1, ... have such a member.
int64_t count_of(const Weights& list, const char* member) {
  int64_t count = 0;
  while ((list / count / member).has_any()) ++count;
  return count;
}

void recognise_unet(SatConfig& config, const Weights& backbone) {
  const Weights encoder = backbone / "encoder" / "stages", decoder = backbone / "decoder" / "stages";
  const auto first = [&](int64_t s) { return encoder / s / 0 / "convs" / 0 / "conv"; };
  for (int64_t s = 0; first(s).has("weight"); ++s) {
    config.channels.push_back(first(s).shape_of("weight")[0]);
    config.encoder_blocks.push_back(count_of(encoder / s / 0 / "convs", "conv"));
  }
  for (int64_t d = 0; d + 1 < config.stages(); ++d) {
    config.decoder_blocks.push_back(count_of(decoder / d / "convs", "conv"));
  }
  config.in_channels = first(0).shape_of("weight")[1];
}

void recognise_umamba(SatConfig& config, const Weights& backbone) {
  const Weights encoder = backbone / "encoder", decoder = backbone / "decoder" / "stages";
  const auto first = [&](int64_t s) { return encoder / "stages" / s / "blocks" / 0 / "conv1" / "conv"; };
  for (int64_t s = 0; first(s).has("weight"); ++s) {
    config.channels.push_back(first(s).shape_of("weight")[0]);
    config.encoder_blocks.push_back(count_of(encoder / "stages" / s / "blocks", "conv1"));
  }
  for (int64_t d = 0; d + 1 < config.stages(); ++d) {
    config.decoder_blocks.push_back(count_of(decoder / d / "blocks", "conv1"));
  }
  config.mamba_layers = count_of(encoder / "mamba_layers", "mamba");
  config.in_channels = (encoder / "stem" / "convs" / 0 / "conv").shape_of("weight")[1];
}

void recognise_swin(SatConfig& config, const Weights& backbone) {
  const Weights encoder = backbone / "encoder", transformer = encoder / "swinViT";
  const Shape patches = (transformer / "patch_embed" / "proj").shape_of("weight");
  config.in_channels = patches[1];
  for (int64_t s = 1; (encoder / ("encoder" + std::to_string(s))).has_any(); ++s) {
    const Weights block = encoder / ("encoder" + std::to_string(s)) / "layer" / "conv1" / "conv";
    config.channels.push_back(block.shape_of("weight")[0]);
  }
  for (int64_t s = 1; (transformer / ("layers" + std::to_string(s))).has_any(); ++s) {
    const Weights blocks = transformer / ("layers" + std::to_string(s)) / 0 / "blocks";
    const Shape table = (blocks / 0 / "attn").shape_of("relative_position_bias_table");
    config.swin_blocks.push_back(count_of(blocks, "attn"));
    config.swin_heads.push_back(table[-1]);
    while (std::pow(2 * double(config.swin_window) - 1, 3) < double(table[0])) ++config.swin_window;
  }
}

}  // namespace

RecognisedConfig recognise_config(const Weights& weights) {
  const Weights backbone = weights / "backbone", encoder = backbone / "encoder",
                query = weights / "transformer_decoder";
  const bool umamba = (encoder / "stem").has_any(), swin = (encoder / "swinViT").has_any();
  SAT_CHECK(
      (umamba || swin || (encoder / "stages" / 0 / 0 / "convs" / 0 / "conv").has("weight")) && query.has("norm.weight"),
      weights.source(),
      ": not a SAT checkpoint (it has none of backbone.encoder.stages.0.0.convs.0.conv.weight, "
      "backbone.encoder.stem and backbone.encoder.swinViT, or no transformer_decoder.norm.weight)");
  SatConfig config;
  config.modalities = published_config("UNET").modalities;
  if (umamba) {
    config.backbone = BackboneKind::umamba;
    recognise_umamba(config, backbone);
  } else if (swin) {
    config.backbone = BackboneKind::swin_unetr;
    recognise_swin(config, backbone);
  } else {
    recognise_unet(config, backbone);
  }
  config.query_dim = query.shape_of("norm.weight")[0];
  config.text_dim = weights.has("query_proj.0.weight") ? weights.shape_of("query_proj.0.weight")[1] : config.query_dim;
  config.decoder_layers = 0;
  while ((query / "layers" / config.decoder_layers).has_any()) ++config.decoder_layers;
  config.feedforward = query.shape_of("layers.0.linear1.weight")[0];
  config.token_hidden = weights.shape_of("projection_layer.0.weight")[0];
  config.mask_hidden = weights.shape_of("mask_embed_proj.0.weight")[0];
  for (int64_t i = 0; (weights / "mid_mask_embed_proj" / i).has_any(); ++i) {
    config.mid_mask_hidden.push_back((weights / "mid_mask_embed_proj" / i / 0).shape_of("weight")[0]);
  }
  while (config.query_dim % config.heads != 0) config.heads /= 2;
  config_from_json(to_json(config), weights.source());  // throws Error for sizes that do not belong together

  for (const std::string& name : published_architectures()) {
    SatConfig known = published_config(name);
    if (config.mid_mask_hidden.empty()) known.mid_mask_hidden.clear();
    config.architecture = name;
    if (to_json(config).dump() == to_json(known).dump()) return {known, true};
  }
  config.architecture = umamba ? "U-Mamba" : swin ? "Swin UNETR" : "U-Net";
  return {config, false};
}

}  // namespace sat
