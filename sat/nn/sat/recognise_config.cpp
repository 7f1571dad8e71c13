// Reading the sizes of a SAT checkpoint off its shapes.
#include "sat/nn/sat/recognise_config.h"

namespace sat {

RecognisedConfig recognise_config(const Weights& weights) {
  const Weights encoder = weights / "backbone" / "encoder" / "stages";
  const Weights decoder = weights / "backbone" / "decoder" / "stages";
  const Weights query = weights / "transformer_decoder";
  SAT_CHECK((encoder / 0 / 0 / "convs" / 0 / "conv").has("weight") && query.has("norm.weight"), weights.source(),
            ": not a SAT U-Net checkpoint (it has no backbone.encoder.stages.0.0.convs.0.conv.weight or no "
            "transformer_decoder.norm.weight)");
  const auto blocks = [](const Weights& convs) {
    int64_t count = 0;
    while ((convs / count / "conv").has("weight")) ++count;
    return count;
  };
  SatConfig config;
  config.architecture = "U-Net";
  config.modalities = published_config("UNET").modalities;
  for (int64_t s = 0; (encoder / s / 0 / "convs" / 0 / "conv").has("weight"); ++s) {
    config.channels.push_back((encoder / s / 0 / "convs" / 0 / "conv").shape_of("weight")[0]);
    config.encoder_blocks.push_back(blocks(encoder / s / 0 / "convs"));
  }
  for (int64_t d = 0; d + 1 < config.stages(); ++d) config.decoder_blocks.push_back(blocks(decoder / d / "convs"));
  config.in_channels = (encoder / 0 / 0 / "convs" / 0 / "conv").shape_of("weight")[1];
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

  for (const char* name : {"UNET", "UNET-L", "UNET-H"}) {
    SatConfig known = published_config(name);
    if (config.mid_mask_hidden.empty()) known.mid_mask_hidden.clear();
    config.architecture = name;
    if (to_json(config).dump() == to_json(known).dump()) return {known, true};
  }
  config.architecture = "U-Net";
  return {config, false};
}

}  // namespace sat
