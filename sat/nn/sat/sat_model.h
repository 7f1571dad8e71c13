// The SAT network: a window and queries in, one mask vector a query and one feature vector a voxel out.
// Knows no files (model_file.h), no scans and no blending (segmenter.h).
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "sat/nn/sat/query_decoder.h"
#include "sat/nn/sat/sat_config.h"
#include "sat/nn/sat/unet3d.h"

namespace sat {

/// What one window gives, whatever is asked of it afterwards.
struct ImageFeatures {
  std::vector<Features> per_voxel;  // [1, H/2^s, W/2^s, D/2^s, C_s], full resolution first; only that unless heads are
                                    // loaded
  Tensor tokens;                    // [T, Q], the multi-scale image tokens
  ImageMemory memory;               // the query decoder's keys and values of these tokens
};

/// Whether the deep-supervision heads are loaded (training, fine-tuning) or passed over (inference).
enum class Heads : uint8_t { final_only, all };

/// Not for use from several threads at once.
class SatModel {
 public:
  /// Asks `weights` for each tensor by its published name; throws Error for one that is missing or mis-shaped.
  SatModel(const Weights& weights, const SatConfig& config, Heads heads = Heads::final_only)
      : SatModel(weights, config, heads, backbone_layers(config)) {}
  /// The same with convolutions computed in other ways than this context would choose.
  SatModel(const Weights& weights, const SatConfig& config, Heads heads, const std::vector<BackboneLayer>& layers);

  /// window [H, W, D, in_channels], or [H, W, D, 1] for a grey image; sizes multiples of config().total_stride(). It is
  /// taken to the context's accelerator, where the results then lie.
  ImageFeatures look(Tensor window, const std::function<void(double)>& on_progress = {}, const Probe& probe = {}) const;

  /// queries [N, text_dim] -> decoder output [N, Q].
  Tensor decode(const Tensor& queries, const ImageMemory& memory) const;

  /// decoder output [N, Q] -> mask vectors [N, C_s]; scale 0 is full resolution, others need Heads::all.
  Tensor mask_vectors(const Tensor& decoded, size_t scale = 0) const;

  /// The whole network on one window: logits [H, W, D, N] at `scale`.
  Tensor logits(const Tensor& window, const Tensor& queries, size_t scale = 0) const;

  const SatConfig& config() const { return config_; }

 private:
  SatConfig config_;
  UNet3d backbone_;
  ActivatedMlp project_tokens_;
  std::vector<ActivatedMlp> project_query_;  // one where the widths differ, else none
  QueryDecoder decoder_;
  std::vector<ActivatedMlp> heads_;  // full resolution first
  mutable std::map<std::array<int64_t, 3>, Tensor>
      positions_;  // of token grids: the modalities' windows', and others seen
};

}  // namespace sat
