// Private. The vision transformer that RAD-DINO and ECAMP are made of (ViT, with DINOv2's LayerScale and registers):
// patch embedding, positions, pre-norm blocks. rad-dino.md sections 2 to 4, ecamp.md section 2.
// Weights come under timm's names (`blocks.0.attn.qkv`, DINOv2's are the same) or Hugging Face's.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "sat/nn/layers.h"

namespace sat {

/// Sizes of a vision transformer; the defaults are ViT-B/14 as RAD-DINO has it.
struct VitConfig {
  int64_t width = 768, depth = 12, heads = 12, hidden = 3072;
  int64_t patch = 14, channels = 3, registers = 0;
  std::array<int64_t, 2> table{37, 37};  // rows and columns of the stored positions
  int64_t tokens = 0;  // usual number of rows of an image, where dense layers may combine them; 0: unknown
  bool layer_scale = true, qkv_bias = true;
  bool final_norm = true;  // ECAMP's fine-tuned networks have none
  float eps = 1e-6f;
};

enum class VitNaming : uint8_t { timm, hugging_face };

/// x <- x + s1 * attention(norm1(x)), x <- x + s2 * mlp(norm2(x)). Rows of a batch stand one behind another.
struct VitBlock {
  LayerNorm norm1, norm2;
  Linear query, key, value, out, up, down;
  Tensor scale1, scale2;  // LayerScale, or empty
  int64_t heads = 0;

  VitBlock(const Weights& w, const VitConfig& config, VitNaming naming);
  /// x [images * tokens, width]: every image has as many tokens. An image's rows depend on that image alone.
  Tensor operator()(Tensor x, const Segments& images) const;
  /// The attention of one image's rows: [heads, R, R].
  Tensor attention_weights(const Tensor& x) const;
};

/// How the stored positions are stretched to another grid (rad-dino.md section 3).
enum class PositionRule : uint8_t {
  offset,            // by (grid + 0.1) / table: DINOv2, and transformers up to 4.47
  size,              // by grid / table: transformers since
  size_antialiased,  // DINOv2 with registers
};

const char* name_of(PositionRule rule);                     // "offset", "size", "size antialiased"
PositionRule parse_position_rule(const std::string& name);  // "offset", "size"; throws Error

/// What the transformer has made of a batch: rows of each image in the order class token, registers, patches.
struct VitRows {
  Tensor rows;                                  // [B * tokens, width]
  int64_t images = 0, tokens = 0, special = 1;  // special: class token and registers
  std::array<int64_t, 2> grid{};
};

/// Hears the rows before the first block (0), and after each block (1 ...), before the last norm.
using VitProbe = std::function<void(int64_t after, const VitRows& rows)>;

class Vit {
 public:
  Vit(const Weights& w, const VitConfig& config, VitNaming naming);

  const VitConfig& config() const { return config_; }
  const std::vector<VitBlock>& blocks() const { return blocks_; }

  /// Patches, class token and registers, and positions: images [B, H, W, channels]. Rows and columns of pixels behind
  /// the last whole patch are left out.
  VitRows embed(const Tensor& images, PositionRule rule) const;
  /// Embeds, and runs all blocks; the rows before the last norm. The batch is worked off as one.
  VitRows operator()(const Tensor& images, PositionRule rule, const VitProbe& probe = {}) const;
  /// The last norm, of any rows. Throws Error where there is none.
  Tensor normed(const Tensor& rows) const;

 private:
  Tensor positions(std::array<int64_t, 2> grid, PositionRule rule) const;  // [grid[0] * grid[1], width]

  VitConfig config_;
  PackedMatrix patches_;
  Tensor patches_bias_, class_token_, registers_;  // [width], [1, width], [registers, width]
  Tensor class_position_, table_;                  // [1, width], [rows, columns, width]
  std::vector<VitBlock> blocks_;
  LayerNorm norm_;
};

/// Sizes as the tensors below `w` show them, and how they are named; heads are not in the tensors: width / 64 unless
/// given. Throws Error where there is no vision transformer.
struct VitFound {
  VitConfig config;
  VitNaming naming;
};
VitFound recognise_vit(const Weights& w, int64_t heads = 0);

}  // namespace sat
