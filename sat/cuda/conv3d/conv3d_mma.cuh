// Private: what the kernels of conv3d_mma are given.
#pragma once

#include <cstdint>

#include "sat/cuda/conv3d/conv3d_mma_plan.h"

namespace sat::cuda {

/// Division of numbers below 2^16 by one that is fixed for a launch.
struct Divider {
  uint32_t by = 1, factor = 0;
  Divider() = default;
  explicit Divider(int64_t divisor) : by(uint32_t(divisor)), factor(uint32_t(0xffffffffu / by + 1)) {}
  __device__ uint32_t operator()(uint32_t n) const { return by == 1 ? n : __umulhi(n, factor); }
};

/// One launch. Items are numbered with the group of planes fastest, then the split, the block of outputs, the column.
struct MmaWork {
  MmaPlan plan;
  ConvInput inputs[2];
  const void* weights;
  void* values;
  PartialMoments* partials;
  float* split_sums;    // [split][last - first][W'][D'][out], or null
  int64_t in_channels;  // of the weights' rows, padded
  int out_padded, out;
  int in_w, in_d, out_w, out_d;
  int in_first, in_last;  // planes that may be read; others count as zeros
  int first, last;
  int groups, items;
  int64_t partials_a_plane;
  DType dtype;  // of the values
  Divider by_box_d, by_box_w, by_tile_d, by_tile_area;
};

/// values[h] = the sum of the splits' sums in their order, rounded; statistics of each plane.
void conv3d_mma_sum(const Stream& stream, const Conv& conv, const MmaPlan& plan);

}  // namespace sat::cuda
