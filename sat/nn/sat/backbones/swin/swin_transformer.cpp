// Swin's forward pass.
#include "sat/nn/sat/backbones/swin/swin_transformer.h"

#include <algorithm>
#include <utility>

#include "sat/nn/sat/backbones/conv_block.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kMlpRatio = 4;

Grid3 grid_of(const Tensor& x) { return {x.shape[1], x.shape[2], x.shape[3]}; }

/// How many tokens the windows of stage `stage` have where a scan's window is one of the config's.
std::vector<int64_t> usual_tokens(const SatConfig& config, size_t stage) {
  std::vector<int64_t> usual;
  for (const auto& [name, modality] : config.modalities) {
    int64_t tokens = 1;
    for (const int64_t size : modality.window) tokens *= std::min(config.swin_window, size >> (stage + 1));
    if (std::find(usual.begin(), usual.end(), tokens) == usual.end()) usual.push_back(tokens);
  }
  return usual;
}

}  // namespace

SwinBlock::SwinBlock(const Weights& w, int64_t channels, int64_t heads, int64_t window,
                     const std::vector<int64_t>& usual)
    : heads_(heads),
      window_(window),
      norm1_(w / "norm1", channels),
      norm2_(w / "norm2", channels),
      projection_(w / "attn" / "proj", channels, channels),
      widen_(w / "mlp" / "linear1", channels, kMlpRatio * channels),
      narrow_(w / "mlp" / "linear2", kMlpRatio * channels, channels) {
  const int64_t span = 2 * window - 1;
  const Weights attn = w / "attn", qkv = attn / "qkv";
  const Tensor weight = qkv.get("weight", {3 * channels, channels}), bias = qkv.get("bias", {3 * channels});
  const auto third = [&](int64_t i) {
    return Linear(slice(weight, i * channels, (i + 1) * channels), slice(bias, i * channels, (i + 1) * channels));
  };
  query_ = third(0);
  key_ = third(1);
  value_ = third(2);
  table_ = attn.get("relative_position_bias_table", {span * span * span, heads});
  if (w.training()) return;  // which changes the table
  for (const int64_t tokens : usual) bias_[tokens] = laid_out(tokens);
}

Tensor SwinBlock::laid_out(int64_t tokens) const {
  const std::vector<int64_t> rows = swin_bias_rows(window_, tokens);
  Tensor bias({heads_, tokens, tokens});
  const float* from = table_.address<float>();
  float* to = bias.address<float>();
  parallel_for(heads_, 1, [&](int64_t head, int64_t) {
    const auto pairs = int64_t(rows.size());
    for (int64_t i = 0; i < pairs; ++i) to[head * pairs + i] = from[rows[size_t(i)] * heads_ + head];
  });
  return to_compute_device(bias);
}

Tensor SwinBlock::operator()(Tensor x, const SwinWindows& windows) const {
  const auto known = bias_.find(windows.tokens());
  const Tensor bias = known != bias_.end() ? known->second : laid_out(windows.tokens());
  Tensor rows = gather_rows(norm1_(x), windows.take);
  const Tensor query = query_(rows), key = key_(rows), value = value_(std::exchange(rows, Tensor()));
  rows = attention(query, key, value, heads_, windows.segments, bias);
  rows = gather_rows(rows, windows.give);
  x = linear_add(std::move(x), rows, projection_.weight, projection_.bias);
  rows = widen_(norm2_(x), Activation::gelu);
  return linear_add(std::move(x), rows, narrow_.weight, narrow_.bias);
}

SwinStage::SwinStage(const Weights& w, int64_t channels, int64_t heads, int64_t blocks, int64_t window,
                     const std::vector<int64_t>& usual)
    : window_(window), norm_(w / "downsample" / "norm", 8 * channels) {
  for (int64_t j = 0; j < blocks; ++j) blocks_.emplace_back(w / "blocks" / j, channels, heads, window, usual);
  const Weights reduction = w / "downsample" / "reduction";
  const Tensor weight = reduction.get("weight", {2 * channels, 8 * channels});
  reduce_ = pack_linear(weight);
}

Tensor SwinStage::operator()(Tensor x) const {
  const Grid3 grid = grid_of(x);
  const int64_t batch = x.shape[0], channels = x.shape[4];
  x = reshape(x, {batch * grid[0] * grid[1] * grid[2], channels});
  for (size_t j = 0; j < blocks_.size(); ++j) {
    x = blocks_[j](std::move(x), swin_windows(batch, grid, window_, j % 2 == 1));
  }
  x = gather_rows(x, swin_merged_tokens(batch, grid));
  x = norm_(reshape(x, {batch, grid[0] / 2, grid[1] / 2, grid[2] / 2, 8 * channels}));
  return linear(x, reduce_, {});
}

SwinTransformer::SwinTransformer(const Weights& w, const SatConfig& config) {
  const int64_t width = config.channels[0];
  const Weights projection = w / "patch_embed" / "proj";
  const Tensor patches = projection.get("weight", {width, config.in_channels, 2, 2, 2});
  patches_ = pack_conv3d(patches);
  if (config.in_channels > 1 && !w.training()) grey_patches_ = pack_conv3d(summed_over_inputs(patches));
  patch_bias_ = to_compute_device(projection.get("bias", {width}));
  for (size_t s = 0; s < config.swin_blocks.size(); ++s) {
    stages_.emplace_back(w / ("layers" + std::to_string(s + 1)) / 0, width << s, config.swin_heads[s],
                         config.swin_blocks[s], config.swin_window, usual_tokens(config, s));
  }
}

std::vector<Tensor> SwinTransformer::operator()(const Tensor& image) const {
  const bool is_grey = grey_patches_ && image.shape[4] == 1;
  Tensor x = conv3d(image, is_grey ? *grey_patches_ : patches_, patch_bias_, {2, 0});
  std::vector<Tensor> outputs{layer_norm(x, {}, {}, 1e-5f)};
  for (const SwinStage& stage : stages_) {
    x = stage(std::move(x));
    outputs.push_back(layer_norm(x, {}, {}, 1e-5f));
  }
  return outputs;
}

}  // namespace sat
