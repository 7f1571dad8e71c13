// Private. The SAT network: a window and queries in, one mask vector a query and one feature vector a voxel out.
// Knows no files (model_file.h), no scans and no blending (run/).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "sat/nn/sat/backbones/backbone.h"
#include "sat/nn/sat/query_decoder.h"
#include "sat/nn/sat/sat_config.h"

namespace sat {

/// What a batch of windows gives, whatever is asked of it afterwards.
struct ImageFeatures {
  std::vector<Features> per_voxel;  // [B, H/2^s, W/2^s, D/2^s, C_s], full resolution first; only that unless heads are
                                    // loaded, and of U-Mamba always
  Tensor tokens;                    // [B, T, Q], the multi-scale image tokens
  ImageMemory memory;               // the query decoder's keys and values of these tokens
};

/// Whether the deep-supervision heads are loaded (training, fine-tuning) or passed over (inference).
enum class Heads : uint8_t { final_only, all };

/// Constant once it is built, and may be used from several threads at once, each in a context of its own.
class SatModel {
 public:
  /// Asks `weights` for each tensor by its published name; throws Error for one that is missing or mis-shaped.
  SatModel(const Weights& weights, const SatConfig& config, Heads heads = Heads::final_only);

  /// windows [B, H, W, D, in_channels], or [B, H, W, D, 1] for grey images; sizes multiples of config().total_stride().
  /// They are taken to where the context computes, and the results lie there.
  ImageFeatures encode_image(Tensor windows, const std::function<void(double)>& on_progress = {},
                             const Probe& probe = {}) const;

  /// queries [B, N, text_dim], or [N, text_dim] that are asked of every image -> decoder output [B, N, Q].
  /// `dropped`: what training drops on the way (query_decoder.h).
  Tensor decode(const Tensor& queries, const ImageMemory& memory, const Dropout& dropped = {}) const;

  /// decoder output [B, N, Q] -> mask vectors [B, N, C_s]; scale 0 is full resolution, others need Heads::all.
  Tensor mask_vectors(const Tensor& decoded, size_t scale = 0) const;

  /// The whole network: windows and queries as above -> logits [B, H, W, D, N] at `scale`.
  Tensor logits(const Tensor& windows, const Tensor& queries, size_t scale = 0) const;

  /// How many scales have mask heads: 1, or with Heads::all those that training supervises.
  size_t scales() const { return heads_.size(); }

  const SatConfig& config() const { return config_; }

 private:
  Tensor position_of(const std::array<int64_t, 3>& grid) const;  // [T, Q]

  SatConfig config_;
  std::shared_ptr<const Backbone> backbone_;
  ActivatedMlp project_tokens_;
  std::vector<ActivatedMlp> project_query_;  // one where the widths differ, else none
  QueryDecoder decoder_;
  std::vector<ActivatedMlp> heads_;                     // full resolution first
  std::map<std::array<int64_t, 3>, Tensor> positions_;  // of the token grids of the modalities' windows
};

}  // namespace sat
