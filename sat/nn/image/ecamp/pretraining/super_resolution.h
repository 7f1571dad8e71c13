// Private. ECAMP's way between 448 x 448 and 224 x 224 pixels: the cubic filter in front of the encoder, and the
// context-guided super-resolution head behind the image decoder. ecamp.md 3.2 and 7.2.
#pragma once

#include "sat/nn/image/conv_layers.h"

namespace sat {

/// Half the size: a fixed filter of (-3, 19, 19, -3) / 32 along both axes, edges repeated. [B, 2h, 2w, C] ->
/// [B, h, w, C]
/// QUIRK: cubic without antialiasing, as the published library had it for tensors; later ones smooth.
Tensor halve_images(const Tensor& images);

/// relu(v + u), u the image at twice its size (bilinear, pixel centres), v = conv(relu(conv(u))).
/// QUIRK: the last ReLU makes pixels non-negative although targets are normalised and partly negative.
class SuperResolution {
 public:
  SuperResolution(const Weights& w, int64_t channels);
  Tensor operator()(const Tensor& images) const;  // [B, h, w, C] -> [B, 2h, 2w, C]

 private:
  Conv2d first_, second_;
  Tensor zero_, one_, first_bias_;  // [1, C]: the first convolution's bias and ReLU are its reader's
};

}  // namespace sat
