// The atlas tower: U-Net stages, masks pooled along with them.
#include "sat/nn/train/knowledge/atlas_tower.h"

#include <utility>

#include "sat/nn/sat/backbones/layer_plan.h"
#include "sat/tensor/autograd/recompute.h"
#include "sat/tensor/parallel.h"

namespace sat {

SatConfig atlas_encoder_config(const std::string& name, const std::array<int64_t, 3>& crop) {
  SAT_CHECK(name == "UNET" || name == "UNET-L" || name == "UNET-H", "atlas encoder '", name,
            "' is not known; it is UNET, UNET-L or UNET-H");
  SatConfig config = published_config(name == "UNET" ? "UNET" : "UNET-L");
  if (name == "UNET-L") config.encoder_blocks.assign(config.channels.size(), 2);
  config.architecture = name;
  config.modalities = {{"*", {}}};
  config.modalities["*"].window = crop;
  return config;
}

Tensor halved_masks(const Tensor& masks) {
  const Shape& large = masks.shape;
  SAT_CHECK(
      masks.dtype == DType::u8 && large.rank() == 5 && large[1] % 2 == 0 && large[2] % 2 == 0 && large[3] % 2 == 0,
      "halved_masks: masks are ", masks.dtype, " ", large, ", need u8 [B, H, W, D, bytes] of even sizes");
  const int64_t bytes = large[4], line = large[3] * bytes;
  Tensor half({large[0], large[1] / 2, large[2] / 2, large[3] / 2, bytes}, DType::u8);
  const uint8_t* from = masks.address<uint8_t>();
  uint8_t* to = half.address<uint8_t>();
  parallel_for(large[0] * large[1] * large[2] / 4, 8, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const int64_t plane = row / (large[2] / 2), w = row % (large[2] / 2);  // the plane of sample and h together
      const uint8_t* lines = from + (2 * plane * large[2] + 2 * w) * line;
      for (int64_t i = 0; i < line / 2; ++i) {
        const uint8_t* voxel = lines + i / bytes * 2 * bytes + i % bytes;
        uint8_t any = 0;
        for (int64_t h : {int64_t(0), large[2] * line}) {
          any = uint8_t(any | voxel[h] | voxel[h + bytes] | voxel[h + line] | voxel[h + line + bytes]);
        }
        to[row * (line / 2) + i] = any;
      }
    }
  });
  return half;
}

AtlasTower::AtlasTower(const Weights& w, const SatConfig& encoder, int64_t width) : config_(encoder) {
  const std::vector<BackboneLayer> layers = unet3d_layers(config_);
  auto planned = layers.begin();
  for (size_t s = 0; s < config_.channels.size(); ++s) {
    const Weights convs = w / "encoder" / "stages" / int64_t(s) / 0 / "convs";
    std::vector<ConvBlock> stage;
    for (int64_t j = 0; j < config_.encoder_blocks[s]; ++j, ++planned) stage.emplace_back(convs / j, *planned);
    stages_.push_back(std::move(stage));
  }
  projection_ = ActivatedMlp(w / "projection_layer", config_.pooled_channels(), width, width);
}

Tensor AtlasTower::pool(const Tensor& images, const Tensor& masks, int64_t count, const Probe& probe) const {
  const bool grey = images.shape[4] == 1 && config_.in_channels > 1;
  Features features{grey ? concat_channels(std::vector<Tensor>(size_t(config_.in_channels), images)) : images};
  std::vector<Tensor> means;
  Tensor wanted = masks;
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Block stage = [blocks = stages_[s]](const auto& inputs) { return in_turn(blocks, inputs[0]); };
    features = recomputes(s) ? recomputed({features}, stage) : stage({features});
    if (probe) probe("encoder " + std::to_string(s), materialize(features));
    if (s > 0) wanted = halved_masks(wanted);
    means.push_back(masked_means(features, to_compute_device(wanted), count));  // [B, N, C_s]
  }
  return concat_channels(means);
}

}  // namespace sat
