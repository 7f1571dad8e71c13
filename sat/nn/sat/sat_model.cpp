// The SAT network's forward pass.
#include "sat/nn/sat/sat_model.h"

namespace sat {

SatModel::SatModel(const Weights& weights, const SatConfig& config, Heads heads)
    : config_(config),
      backbone_(make_backbone(weights / "backbone", config)),
      project_tokens_(weights / "projection_layer", config.pooled_channels(), config.token_hidden, config.query_dim),
      decoder_(weights / "transformer_decoder", config.query_dim, config.heads, config.decoder_layers,
               config.feedforward) {
  if (config.text_dim != config.query_dim) {
    project_query_.emplace_back(weights / "query_proj", config.text_dim, config.query_dim, config.query_dim);
  }
  heads_.emplace_back(weights / "mask_embed_proj", config.query_dim, config.mask_hidden, config.channels[0]);
  for (const auto& [name, modality] : config.modalities) {
    std::array<int64_t, 3> grid = modality.window;
    for (int64_t& size : grid) size /= config.total_stride();
    if (positions_.count(grid) == 0) positions_[grid] = to_compute_device(positional_code(grid, config.query_dim));
  }
  const Weights mid = weights / "mid_mask_embed_proj";
  if (heads == Heads::final_only) {
    mid.ignore_all();
    return;
  }
  for (size_t i = 0; i < config.mid_mask_hidden.size(); ++i) {
    heads_.emplace_back(mid / int64_t(i), config.query_dim, config.mid_mask_hidden[i], config.channels[i + 1]);
  }
}

Tensor SatModel::position_of(const std::array<int64_t, 3>& grid) const {
  const auto known = positions_.find(grid);
  return known != positions_.end() ? known->second : to_compute_device(positional_code(grid, config_.query_dim));
}

ImageFeatures SatModel::encode_image(Tensor windows, const std::function<void(double)>& on_progress,
                                     const Probe& probe) const {
  const Shape& shape = windows.shape;
  SAT_CHECK(shape.rank() == 5 && (shape[4] == config_.in_channels || shape[4] == 1), config_.architecture,
            ": windows have shape ", shape, ", need [B, H, W, D, ", config_.in_channels,
            "], or one channel for grey images");
  const int64_t stride = config_.total_stride();
  for (int axis = 1; axis < 4; ++axis) {
    SAT_CHECK(shape[axis] > 0 && shape[axis] % stride == 0, config_.architecture, ": windows of shape ", shape,
              " are not a multiple of ", stride, " voxels on axis ", axis - 1);
  }
  Tensor x = to_compute_device(windows);
  windows = Tensor();

  // Visual encoder and pixel decoder.
  BackboneOutput visual = (*backbone_)(std::move(x), heads_.size() > 1, on_progress, probe);

  // Multi-scale image tokens: every scale averaged to the coarsest grid, joined, projected.
  const Tensor joined = concat_channels(visual.pooled);  // [B, h, w, d, sum C_s]
  const std::array<int64_t, 3> grid{joined.shape[1], joined.shape[2], joined.shape[3]};
  ImageFeatures features;
  features.tokens =
      project_tokens_(reshape(joined, {joined.shape[0], grid[0] * grid[1] * grid[2], joined.shape[4]}));  // [B, T, Q]

  // Keys carry position, values do not.
  features.memory = decoder_.project_memory(features.tokens, position_of(grid));
  features.per_voxel = std::move(visual.per_voxel);
  return features;
}

Tensor SatModel::decode(const Tensor& queries, const ImageMemory& memory, const Dropout& dropped) const {
  const Shape& shape = queries.shape;
  SAT_CHECK((shape.rank() == 2 || (shape.rank() == 3 && shape[0] == memory.images)) && shape[-1] == config_.text_dim,
            config_.architecture, ": queries have shape ", shape, ", need [", memory.images, ", N, ", config_.text_dim,
            "], or [N, ", config_.text_dim, "] for every image");
  Tensor asked = to_compute_device(queries);
  if (!project_query_.empty()) asked = project_query_[0](asked);
  if (shape.rank() == 2 && memory.images > 1) {  // the same queries for every image
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < memory.images * shape[0]; ++i) rows.push_back(i % shape[0]);
    asked = gather_rows(asked, rows);
  }
  return decoder_(reshape(asked, {memory.images, shape[-2], config_.query_dim}), memory, dropped);
}

Tensor SatModel::mask_vectors(const Tensor& decoded, size_t scale) const {
  SAT_CHECK(scale < heads_.size(), config_.architecture, ": no mask head for scale ", scale, "; ", heads_.size(),
            " loaded");
  return heads_[scale](decoded);
}

Tensor SatModel::logits(const Tensor& windows, const Tensor& queries, size_t scale) const {
  const ImageFeatures image = encode_image(windows);
  const Tensor masks = mask_vectors(decode(queries, image.memory), scale);  // [B, N, C]
  SAT_CHECK(scale < image.per_voxel.size(), config_.architecture, ": its backbone gives no features for scale ", scale,
            "; it gives ", image.per_voxel.size());
  const Tensor voxels = materialize(image.per_voxel[scale]);  // [B, H, W, D, C]
  if (windows.shape[0] == 1) return product_transposed(voxels, select(masks, 0));
  Tensor all = zeros(voxels.shape.with(4, masks.shape[1]), DType::f32, voxels.device);
  for (int64_t b = 0; b < windows.shape[0]; ++b) {
    copy_into(all, b, product_transposed(slice(voxels, b, b + 1), select(masks, b)));
  }
  return all;
}

}  // namespace sat
