// Private. The image encoder as ECAMP's fine-tuned networks have it (ecamp.md sections 10 to 12): every patch is seen,
// and no norm follows the last block. Classifier, segmenter and detector stand on it.
#pragma once

#include "sat/nn/image/vit.h"

namespace sat {

class FineTunedEncoder {
 public:
  /// Reads the encoder below `w`; a last norm that a file still holds is passed over.
  FineTunedEncoder(const Weights& w, VitConfig config);

  const VitConfig& config() const { return vit_.config(); }
  const Vit& vit() const { return vit_; }
  int64_t height() const { return config().patch * config().table[0]; }  // of the only images it takes, in pixels
  int64_t width() const { return config().patch * config().table[1]; }

  /// The mean of each image's patches: images [B, height, width, 3] -> [B, C].
  Tensor mean_patch(const Tensor& images) const;
  /// All patches through a dense layer, on their grid: [B, rows, columns, C].
  Tensor patch_map(const Tensor& images, const Linear& head) const;

 private:
  VitRows rows(const Tensor& images) const;

  Vit vit_;
};

}  // namespace sat
