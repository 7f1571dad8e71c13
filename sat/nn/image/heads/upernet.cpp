// UPerNet's weights and forward pass.
#include "sat/nn/image/heads/upernet.h"

#include <utility>

namespace sat {

UperNet::ConvNorm::ConvNorm(const Weights& w, int64_t in, int64_t out, int64_t side) : norm(w / "batch_norm", out) {
  if (side == 1) {
    pixel = pack_linear(reshape((w / "conv").get("weight", {out, in, 1, 1}), {out, in}));
  } else {
    window = Conv2d(w / "conv", {in, out, side, 1, side / 2, false});
  }
}

Tensor UperNet::ConvNorm::operator()(const Tensor& x) const {
  return norm(window.weight.out == 0 ? linear(x, pixel, {}) : window(x), 0);
}

UperNet::Up::Up(const Weights& w, int64_t channels)
    : weight(pack_conv_transpose2d(w.get("weight", {channels, channels, 2, 2}))),
      bias(to_compute_device(w.get("bias", {channels}))) {}

UperNet::UperNet(const Weights& w, const HeadConfig& config) : config_(config) {
  const int64_t C = config.width, F = config.channels;
  if (config.pyramid) {
    const Weights fine = w / "pyramid" / "fpn1";
    fine_first_ = Up(fine / 0, C);
    fine_norm_ = BatchNorm(fine / 1, C);
    fine_second_ = Up(fine / 3, C);
    middle_ = Up(w / "pyramid" / "fpn2" / 0, C);
  }
  const Weights head = w / config.name;
  const auto pools = int64_t(config.pool_scales.size());
  for (int64_t i = 0; i < pools; ++i) pools_.emplace_back(head / "psp_modules" / i / 1, C, F, 1);
  join_pools_ = ConvNorm(head / "bottleneck", C + pools * F, F, 3);
  for (int64_t i = 0; i + 1 < kMaps; ++i) {
    laterals_.emplace_back(head / "lateral_convs" / i, C, F, 1);
    smoothers_.emplace_back(head / "fpn_convs" / i, F, F, 3);
  }
  join_scales_ = ConvNorm(head / "fpn_bottleneck", kMaps * F, F, 3);
  const Weights classifier = head / "classifier";
  classifier_ = Linear(reshape(classifier.get("weight", {config.classes, F, 1, 1}), {config.classes, F}),
                       classifier.get("bias", {config.classes}));
}

std::vector<Tensor> UperNet::pyramid(const std::vector<Tensor>& maps) const {
  if (!config_.pyramid) return maps;
  return {fine_second_(gelu(fine_norm_(fine_first_(maps[0])))),  // 4 times the grid
          middle_(maps[1]),                                      // twice
          maps[2],                                               //
          max_pool2d(maps[3], 2)};                               // half
}

Tensor UperNet::pooled(const Tensor& coarsest) const {
  std::vector<Tensor> parts{coarsest};
  const int64_t h = coarsest.shape[1], w = coarsest.shape[2];
  for (size_t i = 0; i < pools_.size(); ++i) {
    const int64_t bins = config_.pool_scales[i];
    const Tensor means = resample2d(coarsest, mean_taps(h, bins), mean_taps(w, bins));
    parts.push_back(resized(pools_[i](means), {h, w}));
  }
  return join_pools_(concat_channels(parts));
}

Tensor UperNet::logits(const std::vector<Tensor>& maps) const {
  SAT_CHECK(int64_t(maps.size()) == kMaps, "UPerNet: ", maps.size(), " maps, it takes ", kMaps);
  const std::vector<Tensor> scales = pyramid(maps);
  std::vector<Tensor> joined(kMaps);
  joined[kMaps - 1] = pooled(scales[kMaps - 1]);
  for (size_t i = kMaps - 1; i-- > 0;) {
    const Tensor lateral = laterals_[i](scales[i]);
    joined[i] = add(lateral, resized(joined[i + 1], {lateral.shape[1], lateral.shape[2]}));
  }
  const std::array<int64_t, 2> finest{joined[0].shape[1], joined[0].shape[2]};
  for (size_t i = 0; i < kMaps; ++i) {
    if (i + 1 < kMaps) joined[i] = smoothers_[i](joined[i]);
    joined[i] = resized(joined[i], finest);
  }
  return classifier_(join_scales_(concat_channels(joined)));
}

}  // namespace sat
