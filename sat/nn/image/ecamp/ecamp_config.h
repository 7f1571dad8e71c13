// Private. ECAMP's sizes: as published, and as a checkpoint's tensors show them; its position table by formula.
// ecamp.md sections 2, 3.1, 4.1 and 9.
#pragma once

#include "sat/nn/image/vit.h"
#include "sat/nn/text/post_norm.h"

namespace sat {

/// The pre-training network. Images for the encoder have patch * table pixels a side, those given twice as many.
struct EcampConfig {
  VitConfig encoder;  // ViT-B/16 on 14 x 14 patches
  VitConfig decoder;  // of the image: the sizes of its blocks
  TextBackboneConfig text;

  int64_t patches() const { return encoder.table[0] * encoder.table[1]; }
  int64_t height() const { return encoder.patch * encoder.table[0]; }  // pixels that the encoder sees
  int64_t width() const { return encoder.patch * encoder.table[1]; }
};
EcampConfig ecamp_base();

/// Sizes as the tensors of a pre-training checkpoint show them. Heads are not in the tensors: channels go to heads by
/// 64 in the encoder, 32 in the decoder and 128 in the report encoder, as published; there is at least one.
EcampConfig recognise_ecamp_config(const Weights& w);
/// The same of an encoder under timm's names. Throws Error for a vision transformer with LayerScale or registers, which
/// is not ECAMP's.
VitConfig recognise_ecamp_encoder(const Weights& w);

/// The fixed sine and cosine table [1, 1 + rows * columns, width], its first row, the class token's, of zeros. Row of
/// (y, x): sin(x w), cos(x w), sin(y w), cos(y w), w_j = 10000^(-j / width), j < width / 4.
/// Differs from the table of MAE, whose exponent is 4 j / width: ECAMP's code has it so. Released checkpoints hold a
/// table of their own, which always counts; this one is for training from scratch.
Tensor fixed_positions(int64_t width, int64_t rows, int64_t columns);

}  // namespace sat
