// Blocks of convolution and norm: what they ask of a checkpoint.
#include "sat/nn/sat/backbones/conv_block.h"

#include <utility>

#include "sat/tensor/parallel.h"

namespace sat {

NormWeights instance_norm_weights(const Weights& w, int64_t channels, const BlockStyle& style) {
  NormWeights norm;
  norm.slope = style.slope;
  norm.gain = to_compute_device(style.affine ? (w / "norm").get("weight", {channels}) : full({channels}, 1));
  norm.bias = to_compute_device(style.affine ? (w / "norm").get("bias", {channels}) : zeros({channels}));
  return norm;
}

Tensor summed_over_inputs(const Tensor& weight) {
  const int64_t in = weight.shape[1], taps = weight.numel() / (weight.shape[0] * in);
  Tensor sum(weight.shape.with(1, 1));
  const float* from = weight.address<float>();
  float* to = sum.address<float>();
  parallel_for(sum.numel(), taps, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      double total = 0;
      for (int64_t c = 0; c < in; ++c) total += double(from[(i / taps * in + c) * taps + i % taps]);
      to[i] = float(total);
    }
  });
  return sum;
}

ConvBlockNorm::ConvBlockNorm(const Weights& w, int64_t out, const BlockStyle& style)
    : norm(instance_norm_weights(w, out, style)) {
  if (!style.affine) return;
  const Tensor bias = (w / "conv").get("bias", {out});
  if (w.training()) norm.cancelled = bias;
}

ConvBlock::ConvBlock(const Weights& w, const BackboneLayer& planned, bool takes_grey, const BlockStyle& style)
    : ConvBlockNorm(w, planned.channels.out, style) {
  const Tensor kernel = (w / "conv").get("weight", {planned.channels.out, planned.channels.in, 3, 3, 3});
  weight = pack_conv_block(kernel, planned.site);
  if (takes_grey && !w.training()) grey = pack_conv_block(summed_over_inputs(kernel), planned.site);
}

Features ConvBlock::operator()(Features x) const {
  const bool is_grey = grey && x.values.shape[4] == 1;
  return conv3d_norm(std::move(x), is_grey ? *grey : weight, norm);
}

Features in_turn(const std::vector<ConvBlock>& blocks, Features x) {
  for (const ConvBlock& block : blocks) x = block(std::move(x));
  return x;
}

UpBlock::UpBlock(const Weights& up, const Weights& block, int64_t from, const BackboneLayer& planned)
    : UpBlock(up, up.get("weight", {from, planned.channels.up, 2, 2, 2}), block, planned, {}) {}

UpBlock::UpBlock(const Weights& up, const Tensor& up_kernel, const Weights& block, const BackboneLayer& planned,
                 const BlockStyle& style)
    : ConvBlockNorm(block, planned.channels.out, style) {
  const ConvChannels& channels = planned.channels;
  const Tensor kernel = (block / "conv").get("weight", {channels.out, channels.in, 3, 3, 3});
  const Tensor up_bias = style.affine ? up.get("bias", {channels.up}) : Tensor();
  weight = pack_up_block(kernel, up_kernel, up_bias, planned.site);
}

Features UpBlock::operator()(Features low, Features skip) const {
  return conv3d_norm_up(std::move(low), std::move(skip), weight, norm);
}

}  // namespace sat
