// Residual blocks, written in the order in which their buffers die.
#include "sat/nn/sat/backbones/residual_block.h"

#include <utility>
#include <vector>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// The style of a block's second convolution: the leaky ReLU comes behind the sum.
BlockStyle without_relu(BlockStyle style) {
  style.slope = 1;
  return style;
}

/// Channels [first, first + count) of a 1x1x1 kernel [out, in, 1, 1, 1], as a dense layer's weight.
Tensor columns(const Tensor& kernel, int64_t first, int64_t count) {
  const Tensor by_channel = transpose(reshape(kernel, {kernel.shape[0], kernel.shape[1]}));
  return transpose(slice(by_channel, first, first + count));
}

/// The transposed convolution that does what `up` [in, middle, 2, 2, 2] and then the dense layer `after` [out, middle]
/// do: [in, out, 2, 2, 2].
Tensor composed(const Tensor& up, const Tensor& after) {
  const int64_t in = up.shape[0], out = after.shape[0];
  const Tensor by_tap = transpose(reshape(up, {in, up.shape[1], 8}));  // [in, 8, middle]
  return reshape(transpose(product_transposed(by_tap, after)), {in, out, 2, 2, 2});
}

}  // namespace

Shortcut::Shortcut(const Weights& w, int64_t in, int64_t out, bool takes_grey, const BlockStyle& style)
    : norm(instance_norm_weights(w, out, without_relu(style))) {
  const Tensor kernel = (w / "conv").get("weight", {out, in, 1, 1, 1});
  weight = pack_linear(reshape(kernel, {out, in}));
  if (takes_grey && !w.training()) grey = pack_linear(summed_over_inputs(kernel).reshape({out, 1}));
}

Features Shortcut::operator()(const Tensor& x) const {
  const bool is_grey = grey && x.shape[4] == 1;
  return instance_norm(linear(x, is_grey ? *grey : weight, {}), norm);
}

ResidualBlock::ResidualBlock(const Weights& w, const Weights& shortcut_weights, const BackboneLayer* planned,
                             const BlockStyle& style, bool takes_grey)
    : conv1(w / "conv1", planned[0], takes_grey, style),
      conv2(w / "conv2", planned[1], false, without_relu(style)),
      slope(style.slope) {
  const ConvChannels& channels = planned[0].channels;
  if (channels.in != channels.out) shortcut.emplace(shortcut_weights, channels.in, channels.out, takes_grey, style);
}

Features ResidualBlock::operator()(Features x) const {
  Features main = conv2(conv1(x));
  if (conv1.weight.stride != 1) x = Features{avg_pool3d(x, conv1.weight.stride)};
  if (shortcut) x = (*shortcut)(materialize(std::exchange(x, Features())));
  return sum_features(std::move(main), std::move(x), slope);
}

UpShortcut::UpShortcut(const Weights& w, const Tensor& up_kernel, int64_t skip_channels, int64_t out,
                       const BlockStyle& style)
    : norm(instance_norm_weights(w, out, without_relu(style))) {
  const int64_t up_channels = up_kernel.shape[1];
  const Tensor kernel = (w / "conv").get("weight", {out, up_channels + skip_channels, 1, 1, 1});
  up = pack_conv_transpose3d(composed(up_kernel, columns(kernel, 0, up_channels)));
  skip = pack_linear(columns(kernel, up_channels, skip_channels));
}

Features UpShortcut::operator()(const Tensor& low, const Tensor& skip_features) const {
  return instance_norm(linear_add(conv_transpose3d(low, up, {}), skip_features, skip, {}), norm);
}

ResidualUpBlock::ResidualUpBlock(const Weights& up, const Weights& block, const Weights& shortcut_weights, int64_t from,
                                 const BackboneLayer* planned, const BlockStyle& style)
    : ResidualUpBlock(up, up.get("weight", {from, planned[0].channels.up, 2, 2, 2}), block, shortcut_weights, planned,
                      style) {}

ResidualUpBlock::ResidualUpBlock(const Weights& up, const Tensor& up_kernel, const Weights& block,
                                 const Weights& shortcut_weights, const BackboneLayer* planned, const BlockStyle& style)
    : conv1(up, up_kernel, block / "conv1", planned[0], style),
      conv2(block / "conv2", planned[1], false, without_relu(style)),
      shortcut(shortcut_weights, up_kernel, planned[0].channels.in - planned[0].channels.up, planned[0].channels.out,
               style),
      slope(style.slope) {}

Features ResidualUpBlock::operator()(Tensor low, Tensor skip) const {
  Features past = shortcut(low, skip);
  Features main = conv2(conv1(Features{std::move(low)}, Features{std::move(skip)}));
  return sum_features(std::move(main), std::move(past), slope);
}

}  // namespace sat
