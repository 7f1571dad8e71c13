// The vision transformer's forward pass, and its weights under both namings.
#include "sat/nn/image/vit.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sat {

namespace {

/// A square dense layer: part `part` of `parts` that are published in one piece, one behind another.
Linear read_part(const Weights& w, const VitConfig& config, int64_t part, int64_t parts) {
  const int64_t width = config.width;
  const auto of = [&](const Tensor& whole) { return rows_of(w, whole, part * width, (part + 1) * width); };
  return Linear(of(w.get("weight", {parts * width, width})),
                config.qkv_bias ? of(w.get("bias", {parts * width})) : Tensor(), {config.tokens});
}

/// Where block `index` stands in timm's naming: blocks.{index}, or blocks.{chunk}.{index} in files of DINOv2's
/// training.
Weights block_place(const Weights& w, int64_t index) {
  const Weights blocks = w / "blocks";
  for (int64_t chunk = 0; chunk <= index; ++chunk) {
    const Weights chunked = blocks / chunk / index;
    if ((chunked / "norm1").has("weight")) return chunked;
  }
  return blocks / index;
}

Weights block_place(const Weights& w, int64_t index, VitNaming naming) {
  return naming == VitNaming::timm ? block_place(w, index) : w / "encoder" / "layer" / index;
}

}  // namespace

const char* name_of(PositionRule rule) {
  constexpr const char* kNames[] = {"offset", "size", "size antialiased"};
  return kNames[size_t(rule)];
}

PositionRule parse_position_rule(const std::string& name) {
  for (const PositionRule rule : {PositionRule::offset, PositionRule::size}) {
    if (name == name_of(rule)) return rule;
  }
  fail("interpolation is '", name, "', it should be offset or size");
}

VitBlock::VitBlock(const Weights& w, const VitConfig& config, VitNaming naming)
    : norm1(w / "norm1", config.width, config.eps),
      norm2(w / "norm2", config.width, config.eps),
      up(w / "mlp" / "fc1", config.width, config.hidden, {config.tokens}),
      down(w / "mlp" / "fc2", config.hidden, config.width, {config.tokens}),
      heads(config.heads) {
  const int64_t C = config.width;
  const bool timm = naming == VitNaming::timm;
  const Weights attention = timm ? w / "attn" : w / "attention" / "attention";
  Linear* const parts[] = {&query, &key, &value};
  const char* const names[] = {"query", "key", "value"};
  for (size_t i = 0; i < 3; ++i) {
    *parts[i] =
        timm ? read_part(attention / "qkv", config, int64_t(i), 3) : read_part(attention / names[i], config, 0, 1);
  }
  out = Linear(timm ? attention / "proj" : w / "attention" / "output" / "dense", C, C, {config.tokens});
  if (!config.layer_scale) return;
  scale1 = to_compute_device(timm ? (w / "ls1").get("gamma", {C}) : (w / "layer_scale1").get("lambda1", {C}));
  scale2 = to_compute_device(timm ? (w / "ls2").get("gamma", {C}) : (w / "layer_scale2").get("lambda1", {C}));
}

Tensor VitBlock::operator()(Tensor x, const Segments& images) const {
  const Shape rows = x.shape, by_image{images.count(), rows[0] / images.count(), rows[1]};
  x = reshape(std::exchange(x, Tensor()), by_image);
  {
    const Tensor y = norm1(x);
    const auto flat = [&](const Linear& layer) { return reshape(layer(y), rows); };
    const Tensor mixed = reshape(attention(flat(query), flat(key), flat(value), heads, images), by_image);
    x = linear_add(std::move(x), mixed, out.weight, out.bias, scale1);
  }
  const Tensor hidden = up(norm2(x), Activation::gelu);
  return reshape(linear_add(std::move(x), hidden, down.weight, down.bias, scale2), rows);
}

Tensor VitBlock::attention_weights(const Tensor& x) const {
  const Tensor y = norm1(x);
  return attention_map(query(y), key(y), heads);
}

Vit::Vit(const Weights& w, const VitConfig& config, VitNaming naming) : config_(config) {
  const bool timm = naming == VitNaming::timm;
  const int64_t C = config.width, places = config.table[0] * config.table[1];
  const Weights embeddings = timm ? w : w / "embeddings";
  const Weights patches = timm ? w / "patch_embed" / "proj" : embeddings / "patch_embeddings" / "projection";
  const Tensor kernel = patches.get("weight", {C, config.channels, config.patch, config.patch});
  patches_ = pack_patch_embedding(kernel);
  patches_bias_ = to_compute_device(patches.get("bias", {C}));
  class_token_ = to_compute_device(reshape(embeddings.get("cls_token", {1, 1, C}), {1, C}));
  const Tensor positions = to_compute_device(
      reshape(embeddings.get(timm ? "pos_embed" : "position_embeddings", {1, 1 + places, C}), {1 + places, C}));
  class_position_ = slice(positions, 0, 1);
  table_ = reshape(slice(positions, 1, 1 + places), {config.table[0], config.table[1], C});
  if (config.registers > 0) {
    const Tensor registers = embeddings.get("register_tokens", {1, config.registers, C});
    registers_ = to_compute_device(reshape(registers, {config.registers, C}));
  }
  embeddings.ignore("mask_token");
  for (int64_t i = 0; i < config.depth; ++i) blocks_.emplace_back(block_place(w, i, naming), config, naming);
  if (config.final_norm) norm_ = LayerNorm(timm ? w / "norm" : w / "layernorm", C, config.eps);
}

Tensor Vit::normed(const Tensor& rows) const {
  SAT_CHECK(config_.final_norm,
            "vision transformer: it was fine-tuned without a last norm, so its rows stay as they are");
  return norm_(rows);
}

Tensor Vit::positions(std::array<int64_t, 2> grid, PositionRule rule) const {
  const auto [rows, columns] = config_.table;
  Tensor table = table_;
  // As the published code: the table is taken as it is for square images of as many patches.
  if (grid != config_.table || grid[0] != grid[1]) {
    const auto taps = [&](int64_t in, int64_t out) {
      if (rule == PositionRule::size_antialiased) return cubic_antialiased_taps(in, out);
      return cubic_taps(in, out, rule == PositionRule::offset ? double(in) / (double(out) + 0.1) : 0);
    };
    table = resample(resample(table, 1, taps(columns, grid[1])), 0, taps(rows, grid[0]));
  }
  return reshape(table, {grid[0] * grid[1], config_.width});
}

VitRows Vit::embed(const Tensor& images, PositionRule rule) const {
  SAT_CHECK(images.shape.rank() == 4 && images.shape[3] == config_.channels && images.shape[1] >= config_.patch &&
                images.shape[2] >= config_.patch,
            "vision transformer: images have shape ", images.shape, ", need [B, H, W, ", config_.channels,
            "] of at least ", config_.patch, " x ", config_.patch, " pixels");
  const Tensor patches = split_patches(to_compute_device(images), config_.patch);  // [B, h, w, p * p * channels]
  const int64_t B = patches.shape[0], C = config_.width, count = patches.shape[1] * patches.shape[2];
  VitRows x{{}, B, 1 + config_.registers + count, 1 + config_.registers, {patches.shape[1], patches.shape[2]}};
  const Tensor placed = add(reshape(linear(patches, patches_, patches_bias_), {B, count, C}), positions(x.grid, rule));
  const std::vector<int64_t> first(size_t(B), 0);
  const Tensor heads = reshape(gather_rows(add(class_token_, class_position_), first), {B, 1, C});
  Tensor rows({B, x.tokens, C}, DType::f32, placed.device);
  copy_rows(rows, 1, 0, heads, 0, 1);
  if (config_.registers > 0) {
    std::vector<int64_t> every(size_t(B * config_.registers));
    for (size_t i = 0; i < every.size(); ++i) every[i] = int64_t(i) % config_.registers;
    copy_rows(rows, 1, 1, reshape(gather_rows(registers_, every), {B, config_.registers, C}), 0, config_.registers);
  }
  copy_rows(rows, 1, x.special, placed, 0, count);
  x.rows = reshape(rows, {B * x.tokens, C});
  return x;
}

VitRows Vit::operator()(const Tensor& images, PositionRule rule, const VitProbe& probe) const {
  VitRows x = embed(images, rule);
  if (probe) probe(0, x);
  const Segments segments = equal_segments(x.images, x.tokens, x.tokens);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    x.rows = blocks_[i](std::move(x.rows), segments);
    if (probe) probe(int64_t(i) + 1, x);
  }
  return x;
}

VitFound recognise_vit(const Weights& w, int64_t heads) {
  VitFound found{{}, w.has("cls_token") ? VitNaming::timm : VitNaming::hugging_face};
  VitConfig& config = found.config;
  const bool timm = found.naming == VitNaming::timm;
  const Weights embeddings = timm ? w : w / "embeddings";
  const Weights patches = timm ? w / "patch_embed" / "proj" : embeddings / "patch_embeddings" / "projection";
  const char* table = timm ? "pos_embed" : "position_embeddings";
  SAT_CHECK(embeddings.has("cls_token") && embeddings.has(table) && patches.has("weight"), w.source(),
            ": no vision transformer (it has neither cls_token, pos_embed and patch_embed.proj.weight nor "
            "embeddings.cls_token, embeddings.position_embeddings and embeddings.patch_embeddings.projection.weight)");
  const Shape kernel = patches.shape_of("weight"), places = embeddings.shape_of(table);
  SAT_CHECK(kernel.rank() == 4 && kernel[2] == kernel[3] && places.rank() == 3 && places[0] == 1 && places[1] > 1,
            w.source(), ": no vision transformer: its patch embedding has shape ", kernel, ", its position table ",
            places);
  config.width = kernel[0];
  config.channels = kernel[1];
  config.patch = kernel[2];
  const auto side = int64_t(std::lround(std::sqrt(double(places[1] - 1))));
  SAT_CHECK(side * side == places[1] - 1, w.source(), ": the position table has ", places[1],
            " rows, which are no square grid and a class token");
  config.table = {side, side};
  config.registers = embeddings.has("register_tokens") ? embeddings.shape_of("register_tokens")[1] : 0;
  const auto block = [&](int64_t i) { return block_place(w, i, found.naming); };
  config.tokens = places[1] + config.registers;
  config.depth = 0;
  while ((block(config.depth) / "norm1").has("weight")) ++config.depth;
  SAT_CHECK(config.depth > 0, w.source(), ": a vision transformer without blocks");
  SAT_CHECK((block(0) / "mlp" / "fc1").has("weight"), w.source(),
            ": a vision transformer whose feed-forward layers are not fc1 and fc2 (SwiGLU is not supported)");
  config.hidden = (block(0) / "mlp" / "fc1").shape_of("weight")[0];
  config.qkv_bias =
      timm ? (block(0) / "attn" / "qkv").has("bias") : (block(0) / "attention" / "attention" / "query").has("bias");
  config.layer_scale = timm ? (block(0) / "ls1").has("gamma") : (block(0) / "layer_scale1").has("lambda1");
  config.heads = heads > 0 ? heads : std::max<int64_t>(1, config.width / 64);
  SAT_CHECK(config.width % config.heads == 0, w.source(), ": ", config.width, " channels do not divide into ",
            config.heads, " heads");
  return found;
}

}  // namespace sat
