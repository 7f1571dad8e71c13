// The pre-training forward pass: encoder on what is seen, image decoder, super-resolution, reports.
#include "sat/nn/image/ecamp/pretraining/pretraining.h"

namespace sat {

EcampPretraining::EcampPretraining(const Weights& w, const EcampConfig& config)
    : config_(config),
      encoder_(w, config.encoder, VitNaming::timm),
      decoder_embed_(w / "decoder_embed", config.encoder.width, config.decoder.width),
      decoder_pred_(w / "decoder_pred", config.decoder.width,
                    config.encoder.patch * config.encoder.patch * config.encoder.channels),
      mask_token_(
          to_compute_device(w.get("mask_token", {1, 1, config.decoder.width}).reshape({1, config.decoder.width}))),
      decoder_positions_(to_compute_device(w.get("decoder_pos_embed", {1, 1 + config.patches(), config.decoder.width})
                                               .reshape({1 + config.patches(), config.decoder.width}))),
      decoder_norm_(w / "decoder_norm", config.decoder.width, config.decoder.eps),
      super_resolution_(w / "super_res", config.encoder.channels),
      to_text_(w / "bert_mlp", config.encoder.width, config.text.hidden),
      reports_(w / "bert_encoder" / "model", config.text) {
  for (int64_t i = 0; i < config.decoder.depth; ++i) {
    decoder_blocks_.emplace_back(w / "decoder_blocks" / i, config.decoder, VitNaming::timm);
  }
}

Tensor EcampPretraining::encode(const Tensor& image, const PatchMasks& masks) const {
  const int64_t tokens = 1 + masks.patches;
  std::vector<int64_t> seen;  // the class token and the patches that are kept
  for (int64_t b = 0; b < masks.images; ++b) {
    seen.push_back(b * tokens);
    for (int64_t i = 0; i < masks.seen; ++i) {
      seen.push_back(b * tokens + 1 + masks.kept[size_t(b * masks.seen + i)]);
    }
  }
  Tensor x = gather_rows(encoder_.embed(image, PositionRule::offset).rows, seen);
  const Segments images = equal_segments(masks.images, 1 + masks.seen, 1 + masks.seen);
  for (const VitBlock& block : encoder_.blocks()) x = block(std::move(x), images);
  return encoder_.normed(x);
}

Tensor EcampPretraining::decode(const Tensor& latent, const PatchMasks& masks) const {
  const int64_t B = masks.images, seen = 1 + masks.seen, tokens = 1 + masks.patches, C = config_.decoder.width;

  // Every patch at its own place: what the encoder made of it, or the mask token, which is the table's last row.
  Tensor table({B * seen + 1, C}, DType::f32, latent.device);
  copy_rows(table, 0, 0, decoder_embed_(latent), 0, B * seen);
  copy_rows(table, 0, B * seen, mask_token_, 0, 1);
  std::vector<int64_t> source, patches;
  for (int64_t b = 0; b < B; ++b) {
    source.push_back(b * seen);
    for (int64_t p = 0; p < masks.patches; ++p) {
      const int64_t place = masks.restore[size_t(b * masks.patches + p)];
      source.push_back(place < masks.seen ? b * seen + 1 + place : B * seen);
      patches.push_back(b * tokens + 1 + p);
    }
  }
  Tensor x = reshape(add(reshape(gather_rows(table, source), {B, tokens, C}), decoder_positions_), {B * tokens, C});
  table = {};
  const Segments images = equal_segments(B, tokens, tokens);
  for (const VitBlock& block : decoder_blocks_) x = block(std::move(x), images);
  const Tensor pixels = decoder_pred_(decoder_norm_(gather_rows(x, patches)));
  return reshape(pixels, {B, masks.patches, pixels.shape[1]});
}

ImageContext EcampPretraining::context_of(const Tensor& latent, const PatchMasks& masks) const {
  const Tensor z = to_text_(latent);  // [B * (1 + seen), C]
  ImageContext image;
  std::vector<int64_t> bounds, patches;
  std::vector<uint8_t> counted;  // all but the class token
  for (int64_t b = 0; b <= masks.images; ++b) {
    bounds.push_back(b * (1 + masks.seen));
    image.starts.push_back(b * masks.seen);
  }
  for (int64_t row = 0; row < bounds.back(); ++row) {
    counted.push_back(row % (1 + masks.seen) != 0);
    if (counted.back()) patches.push_back(row);
  }
  image.tokens = gather_rows(z, patches);
  image.pooled = mean_of_rows(z, bounds, counted);
  return image;
}

EcampForward EcampPretraining::operator()(const Tensor& images, const PatchMasks& masks,
                                          const TokenRows& reports) const {
  const int64_t B = masks.images, h = config_.height(), w = config_.width(), channels = config_.encoder.channels;
  SAT_CHECK(images.shape == Shape({B, 2 * h, 2 * w, channels}), "ECAMP's pre-training: images have shape ",
            images.shape, ", need [", B, ", ", 2 * h, ", ", 2 * w, ", ", channels, "]");
  SAT_CHECK(masks.patches == config_.patches(), "ECAMP's pre-training: masks of ", masks.patches,
            " patches, an image has ", config_.patches());

  EcampForward made;
  made.image = halve_images(images);                // [B, h, w, 3]
  const Tensor latent = encode(made.image, masks);  // [B * (1 + seen), width]
  made.latent = reshape(latent, {B, 1 + masks.seen, config_.encoder.width});

  // What was not seen, and then the whole image at twice its size.
  made.predicted = decode(latent, masks);  // [B, patches, patch * patch * 3]
  const auto [rows, columns] = config_.encoder.table;
  const Tensor grid = reshape(made.predicted, {B, rows, columns, made.predicted.shape[2]});
  made.sharpened = super_resolution_(join_patches(grid, config_.encoder.patch));

  // The reports' words, with the image in sight.
  const ImageContext context = context_of(latent, masks);
  made.pooled = context.pooled;
  ReportEncoder::Hidden hidden = reports_(reports, context);
  made.fused = std::move(hidden.fused);
  made.text = std::move(hidden.last);
  made.logits = reports_.logits(made.text);
  return made;
}

}  // namespace sat
