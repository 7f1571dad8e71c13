// Every size and every choice that tells one SAT model from another, as data.
// Knows no weights (sat_model.h) and opens no files (model_file.h).
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "sat/io/scans/preprocess.h"
#include "sat/io/words/json.h"
#include "sat/nn/run/windows.h"

namespace sat {

/// What a scan of one modality is turned into before the network sees it.
struct ModalityConfig {
  std::array<double, 3> spacing_mm{1, 1, 3};    // along the array axes after orientation
  std::array<int64_t, 3> window{288, 288, 96};  // voxels
  Normalisation normalisation;
};

/// What computes a window's features: a plain-conv U-Net, a residual one with Mamba layers, or a Swin transformer
/// between residual convolutions.
enum class BackboneKind : uint8_t { unet, umamba, swin_unetr };

/// An image network with SAT's query decoder. The names of the JSON form are those of to_json().
struct SatConfig {
  std::string architecture;  // "UNET", "UNET-L", "UNET-H", "UMamba", "SwinUNETR", or any name for other sizes
  BackboneKind backbone = BackboneKind::unet;
  int64_t in_channels = 3;
  std::vector<int64_t> channels;        // per encoder stage, full resolution first; at most 8 stages
  std::vector<int64_t> encoder_blocks;  // convolutions per encoder stage, U-Mamba: residual blocks; SwinUNETR: none
  std::vector<int64_t> decoder_blocks;  // the same per decoder stage, lowest resolution first
  int64_t mamba_layers = 0;             // U-Mamba: how many of the last encoder stages end in one
  std::vector<int64_t> swin_blocks;     // SwinUNETR: per stage of the transformer, half resolution first
  std::vector<int64_t> swin_heads;      // attention heads of each of these stages
  int64_t swin_window = 0;              // tokens along each side of a window
  int64_t text_dim = 768;               // width of a text query as it comes from the text encoder
  int64_t query_dim = 768;              // width inside the decoder; query_proj bridges the two if they differ
  int64_t heads = 8;
  int64_t decoder_layers = 6;
  int64_t feedforward = 2048;
  int64_t token_hidden = 768;
  int64_t mask_hidden = 256;
  std::vector<int64_t> mid_mask_hidden;              // deep-supervision heads, half resolution first
  std::string orientation = "RAS";                   // array axes that the network expects
  Rounding importance = Rounding::f16;               // as the published code blends; f32 for models trained otherwise
  std::map<std::string, ModalityConfig> modalities;  // by the scan's modality; "*" for any other

  int64_t stages() const { return int64_t(channels.size()); }
  int64_t total_stride() const { return int64_t(1) << (stages() - 1); }
  int64_t pooled_channels() const;  // sum of the encoder's channels
  /// How a scan of this modality is prepared: the word itself lower-cased, then what it means (modality.h), then "*";
  /// throws Error naming what is known. Differs: the published code takes only "ct" itself for CT here, although its
  /// text side takes "CTA" for one too.
  const ModalityConfig& modality(const std::string& name) const;
};

/// The published models: "UNET" (SAT-Nano), "UNET-L" (SAT-Pro), "UNET-H", "UMamba", "SwinUNETR". Throws Error for
/// another name.
SatConfig published_config(const std::string& architecture);
/// All of these names.
const std::vector<std::string>& published_architectures();

SatConfig config_from_json(const Json& json, const std::string& source);  // throws Error naming the key that is wrong
Json to_json(const SatConfig& config);

}  // namespace sat
