// Private. ECAMP fine-tuned for detection (ecamp.md section 12): the map of patches at three scales, and YOLOv3's head
// (Redmon & Farhadi, 2018) on them.
#pragma once

#include "sat/nn/image/conv_layers.h"
#include "sat/nn/image/ecamp/detection/boxes.h"
#include "sat/nn/image/ecamp/fine_tuned_encoder.h"

namespace sat {

/// Sizes; scales are numbered from coarse (half the patches' grid) over middle (the grid) to fine (twice the grid).
struct EcampDetectorConfig {
  VitConfig encoder;
  std::array<int64_t, 3> pyramid{2048, 1024, 512};   // channels of each scale
  std::array<int64_t, 3> bottleneck{512, 256, 128};  // inside its residual block: a 4th or an 8th
  std::array<std::array<int64_t, 2>, 3> head{{{512, 1024}, {256, 512}, {128, 256}}};  // narrow and wide
  std::array<int64_t, 2> branch{256, 128};  // from a scale to the next finer one
  int64_t classes = 1;
};
EcampDetectorConfig recognise_ecamp_detector(const Weights& w);

/// 1x1, 3x3 and 1x1 convolutions with batch norms and ReLUs, and the input added before the last ReLU.
class Bottleneck {
 public:
  Bottleneck() = default;
  Bottleneck(const Weights& w, int64_t channels, int64_t inside);
  Tensor operator()(const Tensor& x) const;

 private:
  Conv2d narrow_, spatial_, wide_;
  BatchNorm narrow_norm_, spatial_norm_, wide_norm_;
};

/// Convolution without bias, batch norm, leaky ReLU of slope 0.1.
struct ConvNormLeaky {
  Conv2d conv;
  BatchNorm norm;

  ConvNormLeaky() = default;
  ConvNormLeaky(const Weights& w, int64_t in, int64_t out, int64_t kernel);
  Tensor operator()(const Tensor& x) const { return norm(conv(x), 0.1f); }
};

class EcampDetector {
 public:
  /// Reads backbone.* and embedding{0,1,2}* below `w`.
  EcampDetector(const Weights& w, const EcampDetectorConfig& config);

  const EcampDetectorConfig& config() const { return config_; }
  const FineTunedEncoder& encoder() const { return encoder_; }

  /// The network's numbers at each scale, [B, rows, columns, 3 * (5 + classes)]; a place's are ordered (anchor; x, y,
  /// width, height, objectness, classes).
  std::array<Tensor, 3> operator()(const Tensor& images) const;
  /// Images [B, height, width, 3] to boxes on each.
  std::vector<std::vector<Detection>> detect(const Tensor& images, double confidence = 0.5,
                                             double most_overlap = 0.5) const;

 private:
  struct Scale {
    Conv2d lift;  // from the map of patches
    Bottleneck block;
    std::vector<ConvNormLeaky> layers;
    Conv2d out;
    ConvNormLeaky branch;  // of what the coarser scale hands on; none at the first
  };

  EcampDetectorConfig config_;
  FineTunedEncoder encoder_;
  Linear head_;
  std::array<Scale, 3> scales_;
};

}  // namespace sat
