// Private. ECAMP fine-tuned for segmentation (ecamp.md section 11): a map of patches, and a decoder that doubles it
// stage by stage (SETR-PUP: Zheng et al., 2021), or two of them for a disc and a cup.
#pragma once

#include <string>

#include "sat/nn/image/conv_layers.h"
#include "sat/nn/image/ecamp/fine_tuned_encoder.h"

namespace sat {

struct EcampSegmenterConfig {
  VitConfig encoder;
  std::vector<int64_t> channels{512, 256, 128, 64};  // of the stages; each doubles the map
  std::vector<std::string> decoders{"decoder"};      // or decoder_disc and decoder_cup: a mask each
};
/// Sizes and decoders as the tensors show them.
EcampSegmenterConfig recognise_ecamp_segmenter(const Weights& w);

/// Stages of convolution, batch norm, ReLU and doubling (bilinear, corners aligned), then a convolution to one channel.
class UpsamplingDecoder {
 public:
  UpsamplingDecoder(const Weights& w, int64_t in, const std::vector<int64_t>& channels);
  Tensor operator()(Tensor x) const;  // [B, h, w, in] -> [B, 2^stages h, 2^stages w, 1]

 private:
  std::vector<Conv2d> convs_;
  std::vector<BatchNorm> norms_;
  Conv2d out_;
};

class EcampSegmenter {
 public:
  /// Reads encoder.* with encoder.seg_head.*, and each decoder, below `w`.
  EcampSegmenter(const Weights& w, const EcampSegmenterConfig& config);

  /// What each mask is of: "mask", or "disc" and "cup".
  std::vector<std::string> masks() const;
  const FineTunedEncoder& encoder() const { return encoder_; }

  Tensor patch_map(const Tensor& images) const { return encoder_.patch_map(images, head_); }  // [B, rows, columns, C]
  Tensor logits(const Tensor& patch_map) const;  // [B, height, width, masks]
  /// Images [B, height, width, 3] to logits; above 0 is inside.
  Tensor operator()(const Tensor& images) const { return logits(patch_map(images)); }

 private:
  EcampSegmenterConfig config_;
  FineTunedEncoder encoder_;
  Linear head_;
  std::vector<UpsamplingDecoder> decoders_;
};

}  // namespace sat
