// What a mask measures on its scan: volume, intensities, place.
// Knows geometry, not files and not prompts.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/volume.h"
#include "sat/io/words/json.h"

namespace sat {

/// Of one mask. Without voxels everything is 0 and the boxes are empty.
struct MaskStatistics {
  int64_t voxels = 0;
  double volume_mm3 = 0;  // voxels times the volume of one, |det| of the affine
  int64_t measured = 0;   // voxels with a finite intensity: what the next four speak of
  double mean = 0, deviation = 0, minimum = 0, maximum = 0;  // the deviation is the population's
  std::array<double, 3> centroid_mm{};                       // patient RAS+
  std::array<double, 3> centroid_voxel{};
  VoxelBox box;                 // half-open, in voxels
  bool touches_border = false;  // a voxel lies on a face of the grid, so the structure may go on outside
};

/// Measures mask `prompt` on the scan it belongs to; throws Error when their sizes differ. Sums run plane by plane in
/// double and are merged in order, so the thread count does not matter.
MaskStatistics measure_mask(const BitMasks& masks, int64_t prompt, const Volume& scan);
/// The same of every mask, the scan being read once for some of them.
std::vector<MaskStatistics> measure_masks(const BitMasks& masks, const Volume& scan);

/// With null where an empty mask has no value. Boxes as {"start", "end"}, voxels, end excluded.
Json to_json(const MaskStatistics& statistics);

}  // namespace sat
