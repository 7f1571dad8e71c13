// Private. Masks of a scan as the model's space has them: what labels become where preprocess() prepares their scan.
// Knows grids, not files.
#pragma once

#include <array>
#include <cstdint>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/preprocess.h"

namespace sat {

/// Turns and resamples masks on the grid of `scan` to the nearest voxel, on the grid that resample() makes of the scan
/// (spec h.2, h.3): positions outside are clamped to the border, halves go to the even voxel. `crop`: the half-open box
/// of that grid that is kept, as ModelGrid has it. Throws Error when sizes do not fit.
/// Work: the box that each mask takes there.
BitMasks resample_masks(const BitMasks& masks, const Geometry& scan, const PreprocessOptions& options,
                        const std::array<std::array<int64_t, 2>, 3>& crop);

/// The same without a crop.
BitMasks resample_masks(const BitMasks& masks, const Geometry& scan, const PreprocessOptions& options);

}  // namespace sat
