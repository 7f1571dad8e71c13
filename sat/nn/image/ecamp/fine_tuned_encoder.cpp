// Patches of the encoder without its last norm, as a mean and as a map.
#include "sat/nn/image/ecamp/fine_tuned_encoder.h"

namespace sat {

namespace {

VitConfig without_norm(VitConfig config) {
  config.final_norm = false;
  return config;
}

}  // namespace

FineTunedEncoder::FineTunedEncoder(const Weights& w, VitConfig config)
    : vit_(w, without_norm(config), VitNaming::timm) {
  (w / "norm").ignore_all();
}

VitRows FineTunedEncoder::rows(const Tensor& images) const {
  SAT_CHECK(
      images.shape.rank() == 4 && images.shape[0] > 0 && images.shape[1] == height() && images.shape[2] == width(),
      "ECAMP: images have shape ", images.shape, ", need [B, ", height(), ", ", width(), ", ", config().channels,
      "]: its positions are fixed");
  return vit_(images, PositionRule::offset);
}

Tensor FineTunedEncoder::mean_patch(const Tensor& images) const {
  const VitRows x = rows(images);
  std::vector<int64_t> first;
  std::vector<uint8_t> counted;  // all but the class token
  for (int64_t b = 0; b <= x.images; ++b) first.push_back(b * x.tokens);
  for (int64_t row = 0; row < x.images * x.tokens; ++row) counted.push_back(row % x.tokens >= x.special);
  return mean_of_rows(x.rows, first, counted);
}

Tensor FineTunedEncoder::patch_map(const Tensor& images, const Linear& head) const {
  const VitRows x = rows(images);
  std::vector<int64_t> patches;
  for (int64_t row = 0; row < x.images * x.tokens; ++row) {
    if (row % x.tokens >= x.special) patches.push_back(row);
  }
  return reshape(head(gather_rows(x.rows, patches)), {x.images, x.grid[0], x.grid[1], config().width});
}

}  // namespace sat
