// The pyramid on the map of patches, and the head that goes from its coarse scale to the fine one.
#include "sat/nn/image/ecamp/detection/detector.h"

#include "sat/nn/image/ecamp/ecamp_config.h"

namespace sat {

namespace {

constexpr size_t kLayers = 6, kBranchAt = 4;  // of a scale's head; what the next scale gets is the fifth's

/// Names by scale, coarse to fine; "traspose" is misspelt in the published code.
constexpr std::array<const char*, 3> kLift{"downsample", "traspose", "transpose1"};
constexpr std::array<const char*, 3> kBlock{"layer3", "layer1", "layer2"};

Weights layers_place(const Weights& w) { return w / "backbone" / "layers"; }
Weights head_place(const Weights& w, size_t scale) { return w / ("embedding" + std::to_string(scale)); }
Weights branch_place(const Weights& w, size_t scale) { return w / ("embedding" + std::to_string(scale) + "_cbl"); }

/// How many channels a published convolution gives.
int64_t outputs_of(const Weights& conv) {
  const Shape kernel = conv.shape_of("weight");
  SAT_CHECK(kernel.rank() == 4 && kernel[0] > 0, conv.source(), ": tensor '", conv.prefix(), ".weight' has shape ",
            kernel, ", needs four axes");
  return kernel[0];
}

}  // namespace

EcampDetectorConfig recognise_ecamp_detector(const Weights& w) {
  EcampDetectorConfig config;
  config.encoder = recognise_ecamp_encoder(w / "backbone" / "encoder");
  for (size_t scale = 0; scale < 3; ++scale) {
    config.pyramid[scale] = outputs_of(layers_place(w) / kLift[scale]);
    config.bottleneck[scale] = outputs_of(layers_place(w) / kBlock[scale] / "conv1");
    for (size_t i = 0; i < 2; ++i) {
      config.head[scale][i] = outputs_of(head_place(w, scale) / int64_t(i) / "conv");
    }
    if (scale > 0) config.branch[scale - 1] = outputs_of(branch_place(w, scale) / "conv");
  }
  const int64_t numbers = outputs_of(head_place(w, 0) / "conv_out");
  SAT_CHECK(numbers % 3 == 0 && numbers > 15, w.source(), ": tensor 'embedding0.conv_out.weight' gives ", numbers,
            " numbers a place, needs 3 * (5 + classes)");
  config.classes = numbers / 3 - 5;
  SAT_CHECK(config.encoder.table[0] % 2 == 0 && config.encoder.table[1] % 2 == 0, w.source(), ": a grid of ",
            config.encoder.table[0], " x ", config.encoder.table[1], " patches cannot be halved");
  return config;
}

Bottleneck::Bottleneck(const Weights& w, int64_t channels, int64_t inside)
    : narrow_(w / "conv1", {channels, inside, 1, 1, 0, false}),
      spatial_(w / "conv2", {inside, inside, 3, 1, 1, false}),
      wide_(w / "conv3", {inside, channels, 1, 1, 0, false}),
      narrow_norm_(w / "bn1", inside),
      spatial_norm_(w / "bn2", inside),
      wide_norm_(w / "bn3", channels) {}

Tensor Bottleneck::operator()(const Tensor& x) const {
  const Tensor narrow = narrow_norm_(narrow_(x), 0);
  const Tensor spatial = spatial_norm_(spatial_(narrow), 0);
  return add_relu(wide_(spatial), wide_norm_, x);
}

ConvNormLeaky::ConvNormLeaky(const Weights& w, int64_t in, int64_t out, int64_t kernel)
    : conv(w / "conv", {in, out, kernel, 1, kernel / 2, false}), norm(w / "bn", out) {}

EcampDetector::EcampDetector(const Weights& w, const EcampDetectorConfig& config)
    : config_(config),
      encoder_(w / "backbone" / "encoder", config.encoder),
      head_(w / "backbone" / "encoder" / "det_head", config.encoder.width, config.encoder.width) {
  for (size_t s = 0; s < 3; ++s) {
    Scale& scale = scales_[s];
    const bool coarse = s == 0;
    scale.lift =
        Conv2d(layers_place(w) / kLift[s], {config.encoder.width, config.pyramid[s], 1, coarse ? 2 : 1, 0, !coarse});
    scale.block = Bottleneck(layers_place(w) / kBlock[s], config.pyramid[s], config.bottleneck[s]);
    const auto [narrow, wide] = config.head[s];
    int64_t in = config.pyramid[s];
    if (!coarse) {
      scale.branch = ConvNormLeaky(branch_place(w, s), config.head[s - 1][0], config.branch[s - 1], 1);
      in += config.branch[s - 1];
    }
    for (size_t i = 0; i < kLayers; ++i) {
      const bool even = i % 2 == 0;
      scale.layers.emplace_back(head_place(w, s) / int64_t(i),
                                i == 0 ? in
                                : even ? wide
                                       : narrow,
                                even ? narrow : wide, even ? 1 : 3);
    }
    scale.out = Conv2d(head_place(w, s) / "conv_out", {wide, 3 * (5 + config.classes)});
  }
}

std::array<Tensor, 3> EcampDetector::operator()(const Tensor& images) const {
  const Tensor map = encoder_.patch_map(images, head_);  // [B, 14, 14, C]
  std::array<Tensor, 3> grids;
  Tensor handed;  // by the coarser scale
  for (size_t s = 0; s < 3; ++s) {
    const Scale& scale = scales_[s];
    Tensor x = scale.lift(map);
    if (s == 2) {
      const int64_t h = x.shape[1], w = x.shape[2];
      x = resample2d(x, linear_taps(h, 2 * h, true), linear_taps(w, 2 * w, true));
    }
    x = scale.block(x);
    if (s > 0) {
      const Tensor small = scale.branch(handed);
      const int64_t h = small.shape[1], w = small.shape[2];
      x = concat_channels({resample2d(small, nearest_taps(h, 2 * h), nearest_taps(w, 2 * w)), x});
    }
    for (size_t i = 0; i < kLayers; ++i) {
      x = scale.layers[i](x);
      if (i == kBranchAt) handed = x;
    }
    grids[s] = scale.out(x);
  }
  return grids;
}

std::vector<std::vector<Detection>> EcampDetector::detect(const Tensor& images, double confidence,
                                                          double most_overlap) const {
  SAT_CHECK(confidence >= 0 && confidence <= 1 && most_overlap > 0 && most_overlap <= 1, "detection: a confidence of ",
            confidence, " and an overlap of ", most_overlap, ", need 0 to 1, the overlap above 0");
  std::vector<std::vector<Detection>> kept;
  for (const std::vector<Candidate>& found : decode_boxes((*this)(images), double(encoder_.width()))) {
    kept.push_back(suppress(found, confidence, most_overlap));
  }
  return kept;
}

}  // namespace sat
