// Private. UPerNet on the maps of a plain vision transformer (Xiao et al. 2018, as transformers has it): a pyramid of
// scales made from maps of one scale, pooling of the coarsest, and maps joined from coarse to fine.
#pragma once

#include <vector>

#include "sat/nn/image/conv_layers.h"
#include "sat/nn/image/heads/segmentation_head.h"
#include "sat/nn/layers.h"

namespace sat {

class UperNet : public SegmentationHead {
 public:
  UperNet(const Weights& w, const HeadConfig& config);

  int64_t classes() const override { return config_.classes; }
  int64_t width() const override { return kMaps * config_.width; }
  int64_t maps() const override { return kMaps; }
  Tensor logits(const std::vector<Tensor>& maps) const override;

 private:
  static constexpr int64_t kMaps = 4;

  /// Convolution without bias, batch norm, ReLU; of one pixel, which is a dense layer, or of 3 x 3.
  struct ConvNorm {
    PackedMatrix pixel;
    Conv2d window;
    BatchNorm norm;

    ConvNorm() = default;
    ConvNorm(const Weights& w, int64_t in, int64_t out, int64_t side);
    Tensor operator()(const Tensor& x) const;
  };
  /// Transposed convolution with kernel = stride = 2.
  struct Up {
    PackedMatrix weight;
    Tensor bias;

    Up() = default;
    Up(const Weights& w, int64_t channels);
    Tensor operator()(const Tensor& x) const { return conv_transpose2d(x, weight, bias); }
  };

  std::vector<Tensor> pyramid(const std::vector<Tensor>& maps) const;
  Tensor pooled(const Tensor& coarsest) const;

  HeadConfig config_;
  Up fine_first_, fine_second_, middle_;
  BatchNorm fine_norm_;
  std::vector<ConvNorm> pools_, laterals_, smoothers_;
  ConvNorm join_pools_, join_scales_;
  Linear classifier_;
};

}  // namespace sat
