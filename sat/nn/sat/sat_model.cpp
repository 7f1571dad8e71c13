// The SAT network's forward pass.
#include "sat/nn/sat/sat_model.h"

namespace sat {

SatModel::SatModel(const Weights& weights, const SatConfig& config, Heads heads,
                   const std::vector<BackboneLayer>& layers)
    : config_(config),
      backbone_(weights / "backbone", config, layers),
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
    if (positions_.count(grid) == 0) positions_[grid] = resident(positional_code(grid, config.query_dim));
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

ImageFeatures SatModel::look(Tensor window, const std::function<void(double)>& on_progress, const Probe& probe) const {
  SAT_CHECK(window.shape.rank() == 4 && (window.shape[3] == config_.in_channels || window.shape[3] == 1),
            config_.architecture, ": window has shape ", window.shape, ", needs [H, W, D, ", config_.in_channels,
            "], or one channel for a grey image");
  const int64_t stride = config_.total_stride();
  for (int axis = 0; axis < 3; ++axis) {
    SAT_CHECK(window.shape[axis] > 0 && window.shape[axis] % stride == 0, config_.architecture, ": window ",
              window.shape, " is not a multiple of ", stride, " voxels on axis ", axis);
  }
  const Shape batched({1, window.shape[0], window.shape[1], window.shape[2], window.shape[3]});
  Tensor x = resident(window).reshape(batched);
  window = Tensor();

  // Visual encoder and pixel decoder.
  BackboneOutput visual = backbone_(std::move(x), heads_.size() > 1, on_progress, probe);

  // Multi-scale image tokens: every scale averaged to the coarsest grid, joined, projected.
  const Tensor joined = concat_channels(visual.pooled);  // [1, h, w, d, sum C_s]
  const std::array<int64_t, 3> grid{joined.shape[1], joined.shape[2], joined.shape[3]};
  ImageFeatures features;
  features.tokens = project_tokens_(joined.reshape({grid[0] * grid[1] * grid[2], joined.shape[4]}));  // [T, Q]

  // Keys carry position, values do not.
  auto position = positions_.find(grid);
  if (position == positions_.end()) {
    position = positions_.emplace(grid, resident(positional_code(grid, config_.query_dim))).first;
  }
  features.memory = decoder_.remember(features.tokens, position->second);
  features.per_voxel = std::move(visual.per_voxel);
  return features;
}

Tensor SatModel::decode(const Tensor& queries, const ImageMemory& memory) const {
  SAT_CHECK(queries.shape.rank() == 2 && queries.shape[1] == config_.text_dim, config_.architecture,
            ": queries have shape ", queries.shape, ", need [N, ", config_.text_dim, "]");
  const Tensor asked = resident(queries);
  return decoder_(project_query_.empty() ? asked : project_query_[0](asked), memory);
}

Tensor SatModel::mask_vectors(const Tensor& decoded, size_t scale) const {
  SAT_CHECK(scale < heads_.size(), config_.architecture, ": no mask head for scale ", scale, "; ", heads_.size(),
            " loaded");
  return heads_[scale](decoded);
}

Tensor SatModel::logits(const Tensor& window, const Tensor& queries, size_t scale) const {
  const ImageFeatures image = look(window);
  const Tensor masks = mask_vectors(decode(queries, image.memory), scale);
  return linear(finished(image.per_voxel.at(scale)).select(0), pack_linear(masks), Tensor());
}

}  // namespace sat
