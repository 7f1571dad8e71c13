// The list of a backbone's convolutions: how exact each must be, and on which grid it usually works.
#include "sat/nn/sat/backbones/layer_plan.h"

#include <algorithm>

namespace sat {

namespace {

// What a convolution may be off by, rms, of its output's deviation. The norms over the few voxels of the coarsest grid
// magnify what the encoder leaves, by some 40 where there are four of them; nothing magnifies what the decoder leaves.
constexpr double kDecoderError = 1e-5, kEncoderError = 1e-5, kEncoderErrorFewVoxels = 5e-7;
constexpr int64_t kFewVoxels = 64;

double encoder_error(const std::array<int64_t, 3>& coarsest) {
  return coarsest[0] * coarsest[1] * coarsest[2] < kFewVoxels ? kEncoderErrorFewVoxels : kEncoderError;
}

/// The grid that stage `stage` has in the largest of the model's windows.
std::array<int64_t, 3> usual_grid(const SatConfig& config, size_t stage) {
  const std::array<int64_t, 3> published = ModalityConfig().window;
  std::array<int64_t, 3> grid{1, 1, 1};
  for (size_t axis = 0; config.modalities.empty() && axis < 3; ++axis) grid[axis] = published[axis] >> stage;
  for (const auto& [name, modality] : config.modalities) {
    for (size_t axis = 0; axis < 3; ++axis) grid[axis] = std::max(grid[axis], modality.window[axis] >> stage);
  }
  return grid;
}

}  // namespace

void LayerPlan::add(const std::string& part, size_t stage, int64_t block, const ConvChannels& channels, int64_t stride,
                    bool reads_final) {
  const bool in_decoder = part == "decoder";
  const double most_error =
      in_decoder ? kDecoderError : encoder_error(usual_grid(config_, config_.channels.size() - 1));
  BackboneLayer layer{part + " " + std::to_string(stage) + "." + std::to_string(block), {}, channels, {}};
  layer.site = {stride, usual_grid(config_, stage), int(stage), most_error};
  if (!reads_final) layer.site.input = layers_.back().choice.store;
  layer.choice = choose_conv(layer.site, channels);
  layers_.push_back(std::move(layer));
}

double work_of(const std::vector<BackboneLayer>& layers) {
  double work = 0;
  for (const BackboneLayer& layer : layers) work += layer.work();
  return work;
}

}  // namespace sat
