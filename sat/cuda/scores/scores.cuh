// Private: where a region's voxels lie in the arrays of a score accumulation, and its form on tensor cores.
#pragma once

#include <cstdint>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

/// The box of a region inside one array: voxel (h, w, d) of the box is voxel first + h * plane + w * row + d.
struct Place {
  int64_t first, plane, row;
};

inline Place place_of(const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& first) {
  return {(first[0] * size[1] + first[1]) * size[2] + first[2], size[1] * size[2], size[2]};
}

/// A region as kernels see it. Its voxels are numbered along the box, D fastest.
struct RegionPlaces {
  Place scores, features, importance;
  uint32_t width, depth, voxels;  // of the box: W, D and all
};

inline RegionPlaces places_of(const ScoreSizes& sizes, const ScoreRegion& region) {
  const int64_t voxels = region.size[0] * region.size[1] * region.size[2];
  SAT_CHECK(voxels < int64_t(1) << 31, "a region of ", voxels, " voxels, at most 2147483647 go in one call");
  return {place_of(sizes.scores, region.in_scores),
          place_of(sizes.features, region.in_features),
          place_of(sizes.importance, region.in_importance),
          uint32_t(region.size[1]),
          uint32_t(region.size[2]),
          uint32_t(voxels)};
}

/// A voxel of the box.
struct BoxVoxel {
  uint32_t h, w, d;
  __device__ BoxVoxel(const RegionPlaces& places, uint32_t voxel)
      : h(voxel / places.depth / places.width), w(voxel / places.depth % places.width), d(voxel % places.depth) {}
  __device__ int64_t in(const Place& place) const { return place.first + h * place.plane + w * place.row + d; }
};

/// Whether the form on tensor cores takes these features: half types, up to 128 channels in multiples of 8, at
/// addresses of multiples of 16 bytes.
bool mask_scores_mma_fits(const ConvInput& features, const float* masks);
void accumulate_mask_scores_mma(const Stream& stream, float* scores, const ConvInput& features, const float* masks,
                                const float* importance, const RegionPlaces& places, int64_t prompts);
void mask_bits_mma(const Stream& stream, uint32_t* bits, const ConvInput& features, const float* masks, int64_t voxels,
                   int64_t prompts);

}  // namespace sat::cuda
