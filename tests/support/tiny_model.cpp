// The tiny model, its bank and a scan for it.
#include "tests/support/tiny_model.h"

#include <cmath>

#include "sat/io/checkpoints/safetensors.h"
#include "sat/nn/sat/sat_model.h"
#include "sat/nn/text/embedding_bank.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"

namespace sat::test {

SatConfig tiny_config() {
  SatConfig config;
  config.architecture = "tiny";
  config.channels = {4, 6, 10};
  config.encoder_blocks = {1, 2, 1};
  config.decoder_blocks = {1, 2};
  config.mid_mask_hidden = {7};
  config.text_dim = 12;
  config.query_dim = 24;
  config.heads = 4;
  config.decoder_layers = 2;
  config.feedforward = 20;
  config.token_hidden = 18;
  config.mask_hidden = 9;
  config.modalities["*"].window = {16, 16, 8};
  return config;
}

SatConfig tiny_config(BackboneKind backbone) {
  SatConfig config = tiny_config();
  config.backbone = backbone;
  if (backbone == BackboneKind::umamba) {
    config.mamba_layers = 2;
    config.encoder_blocks = {1, 2, 1};
  }
  if (backbone == BackboneKind::swin_unetr) {
    config.channels = {4, 4, 8, 16};
    config.encoder_blocks.clear();
    config.decoder_blocks.clear();
    config.swin_blocks = {2, 1};
    config.swin_heads = {2, 4};
    config.swin_window = 3;
    config.modalities["*"].window = {24, 16, 8};
  }
  return config;
}

void write_tiny_model(const std::string& model_path, const std::string& bank_path, int64_t phrases,
                      BackboneKind backbone) {
  std::map<std::string, Tensor> tensors;
  const SatModel model(Weights::made([&](const std::string& name, const Shape& shape) {
                         return tensors[name] = generated_weight(name, shape);
                       }),
                       tiny_config(backbone));
  SatConfig config = tiny_config(backbone);
  config.mid_mask_hidden.clear();
  write_safetensors(
      model_path, tensors,
      {{"format", "sat-model-1"}, {"config", to_json(config).dump()}, {"text_identity", std::string(64, 'a')}});
  EmbeddingBank bank;
  for (int64_t i = 0; i < phrases; ++i) bank.phrases.push_back("prompt " + std::to_string(i));
  bank.embeddings = field("bank", {phrases, 12}, 1);
  bank.modality_embed = field("modality", {4, 12}, 0.1);
  bank.text_identity = std::string(64, 'a');
  write_bank(bank_path, bank);
}

Volume tiny_scan(const std::array<int64_t, 3>& size) {
  Volume scan;
  scan.geometry.size = size;
  scan.geometry.voxel_to_world_mm.m[2][2] = 3;
  scan.voxels = Tensor({size[0], size[1], size[2]});
  float* voxel = scan.voxels.data<float>();
  for (int64_t h = 0; h < size[0]; ++h) {
    for (int64_t w = 0; w < size[1]; ++w) {
      for (int64_t d = 0; d < size[2]; ++d) {
        *voxel++ = float(300 + 100 * std::sin(0.7 * double(h)) + 80 * std::cos(0.9 * double(w) + 0.3 * double(d)));
      }
    }
  }
  return scan;
}

}  // namespace sat::test
