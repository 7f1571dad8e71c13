// Private. Masks of some structures of a cached case on a crop, as a sample holds them.
#pragma once

#include <array>
#include <cstdint>

#include "sat/io/datasets/cache/cached_case.h"

namespace sat {

/// Whether a box has a voxel in the crop.
bool touches_crop(const VoxelBox& box, const std::array<int64_t, 3>& start, const std::array<int64_t, 3>& crop);

/// Masks in the making: u8 [H, W, D, bytes], structure n is bit n % 8 of byte n / 8.
class CropMasks {
 public:
  /// Room for `most` structures.
  CropMasks(const std::array<int64_t, 3>& start, const std::array<int64_t, 3>& crop, int64_t most);

  /// Sets bit n where the structure is. False where it is nowhere in the crop.
  bool add(const CachedCase& cached, int64_t structure, int64_t n);

  /// The masks of the first `count` bits.
  Tensor finish(int64_t count) const;

 private:
  std::array<int64_t, 3> start_, crop_;
  int64_t bytes_;
  Tensor masks_;
};

}  // namespace sat
