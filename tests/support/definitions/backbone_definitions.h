// U-Mamba and SwinUNETR as their papers and SAT's published code define them, in double and without any of our ops:
// what the networks of nn/sat/backbones/ are held against on sizes that take no time.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sat/nn/sat/sat_config.h"
#include "sat/tensor/tensor.h"

namespace sat::test {

/// A volume [H, W, D, C].
struct DoubleVolume {
  std::array<int64_t, 3> size{};
  int64_t channels = 0;
  std::vector<double> values;

  DoubleVolume() = default;
  DoubleVolume(const std::array<int64_t, 3>& grid, int64_t width)
      : size(grid), channels(width), values(size_t(grid[0] * grid[1] * grid[2] * width), 0.) {}
  double& at(int64_t h, int64_t w, int64_t d, int64_t c) {
    return values[size_t(((h * size[1] + w) * size[2] + d) * channels + c)];
  }
  double at(int64_t h, int64_t w, int64_t d, int64_t c) const {
    return values[size_t(((h * size[1] + w) * size[2] + d) * channels + c)];
  }
  int64_t voxels() const { return size[0] * size[1] * size[2]; }
};

/// Stages of the encoder, full resolution first, and outputs of the decoder, full resolution first.
struct DefinedOutput {
  std::vector<DoubleVolume> encoder, decoder;
};

/// Tensors by their names below "backbone.".
using NamedTensors = std::map<std::string, Tensor>;
DefinedOutput defined_umamba(const NamedTensors& weights, const SatConfig& config, const Tensor& image);
DefinedOutput defined_swin_unetr(const NamedTensors& weights, const SatConfig& config, const Tensor& image);

}  // namespace sat::test
