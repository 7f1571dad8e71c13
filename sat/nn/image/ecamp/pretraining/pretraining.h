// Private. ECAMP's pre-training network as a whole (ecamp.md sections 2 to 4): images and masked reports to predicted
// pixels, sharpened images and words. What it is trained for stands in losses.h.
#pragma once

#include "sat/nn/image/ecamp/ecamp_config.h"
#include "sat/nn/image/ecamp/pretraining/patch_masking.h"
#include "sat/nn/image/ecamp/pretraining/report_encoder.h"
#include "sat/nn/image/ecamp/pretraining/super_resolution.h"

namespace sat {

/// Everything that the forward pass makes of B images of 2h x 2w pixels and B reports of R tokens together.
struct EcampForward {
  Tensor image;      // [B, h, w, 3] what the encoder sees
  Tensor latent;     // [B, 1 + seen, width] class token, then patches in the order of their noise
  Tensor predicted;  // [B, patches, patch * patch * 3], a patch in the order (row, column, channel)
  Tensor sharpened;  // [B, 2h, 2w, 3] the super-resolution of the predicted image
  Tensor pooled;     // [B, width] mean image token of the reports' branch, "gap"
  Tensor fused;      // [R, width] reports behind the context fusion layer
  Tensor text;       // [R, width] behind the last layer
  Tensor logits;     // [R, vocabulary]
};

class EcampPretraining {
 public:
  /// Reads all tensors of ecamp.md section 9 below `w`, the stored position tables among them.
  EcampPretraining(const Weights& w, const EcampConfig& config);

  const EcampConfig& config() const { return config_; }
  const Vit& encoder() const { return encoder_; }

  /// images [B, 2h, 2w, 3], normalised; reports as the text encoder sees them, their words masked.
  EcampForward operator()(const Tensor& images, const PatchMasks& masks, const TokenRows& reports) const;

 private:
  Tensor encode(const Tensor& image, const PatchMasks& masks) const;  // [B * (1 + seen), width]
  Tensor decode(const Tensor& latent, const PatchMasks& masks) const;
  ImageContext context_of(const Tensor& latent, const PatchMasks& masks) const;

  EcampConfig config_;
  Vit encoder_;
  Linear decoder_embed_, decoder_pred_;
  Tensor mask_token_, decoder_positions_;  // [1, C], [1 + patches, C]
  std::vector<VitBlock> decoder_blocks_;
  LayerNorm decoder_norm_;
  SuperResolution super_resolution_;
  Linear to_text_;
  ReportEncoder reports_;
};

}  // namespace sat
