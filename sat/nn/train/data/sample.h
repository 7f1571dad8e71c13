// Private. What a training step gets of one case: voxels, the structures it asks for, and their masks as bits.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

enum class QueryKind : uint8_t {
  positive,  // has voxels in the crop
  negative,  // is known to have none
  filler     // text `none`, no mask, no loss: makes samples of a batch equally long
};
inline constexpr const char* kFillerName = "none";

/// N structures asked for on a crop of H x W x D voxels.
struct TrainingSample {
  Tensor image;                         // f32 [H, W, D], normalised and augmented
  std::vector<std::string> structures;  // N names
  std::vector<QueryKind> kinds;         // N
  std::vector<float> weights;           // N, in the loss: 1, fillers 0
  /// u8 [H, W, D, ceil(N / 8)]: structure n is bit n % 8, lowest first, of byte n / 8; bits beyond N are 0.
  Tensor masks;
  std::string case_id, dataset, modality;
  std::array<int64_t, 3> start{};  // of the crop in the case's voxels
};

/// Masks u8 [H, W, D, bytes] on a grid of `size` voxels, by nearest neighbours: voxel i of m along an axis of n is
/// voxel floor(i * n / m). The targets of the coarser scales.
Tensor resized_masks(const Tensor& masks, const std::array<int64_t, 3>& size);

/// Appends fillers until the sample asks for `count` structures.
void fill_queries(TrainingSample& sample, int64_t count);

}  // namespace sat
