// Turning a scan's grid to an orientation code and resampling it to a spacing: geometry first, voxels second.
// Follows MONAI 1.1 (Orientation, Spacing) to the arithmetic, because its rounding decides the size and the origin of
// the grid. Knows nothing of cropping or intensities (preprocess.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sat/io/scans/volume.h"

namespace sat {

/// How a grid is turned: axis k of the result is axis from[k] of the source, read backwards where reversed[k].
struct AxisOrder {
  std::array<int, 3> from{0, 1, 2};
  std::array<bool, 3> reversed{};
};

/// The turn that makes array axes grow towards the letters of `code` (R or L, A or P, S or I, each axis once).
/// Throws Error for another code.
AxisOrder axis_order(const Affine& voxel_to_world_mm, const std::string& code);

/// The turned grid. Its affine is rounded to float32, as the published pipeline stores it.
Geometry reorient(const Geometry& scan, const AxisOrder& order);

/// Voxel index in the source -> voxel index in the turned grid. Whole numbers, so exact.
Affine source_to_turned(const std::array<int64_t, 3>& source_size, const AxisOrder& order);

/// A grid at another spacing, and how to sample the old grid for it.
struct SpacedGrid {
  Geometry geometry;
  Affine to_source;        // voxel index here -> voxel index in the old grid
  Affine from_source;      // and back
  bool resampled = false;  // false: the very same voxels, both maps the identity
};

/// The grid that covers `source` at `spacing_mm` along each array axis, without shear. An axis within 0.001 mm of its
/// target keeps its spacing; sizes round half to even. Throws Error when the affine is singular or not finite, when a
/// spacing is not positive, or when the result would have more than 2^31 voxels or 65536 along an axis.
SpacedGrid space_grid(const Geometry& source, const std::array<double, 3>& spacing_mm);

/// Voxels f32 [H, W, D] of `grid`, from the source's f32 voxels turned by `order`: trilinear in double, positions
/// outside clamped to the border; a plain permutation when grid.resampled is false.
Tensor resample(const Tensor& source, const AxisOrder& order, const SpacedGrid& grid);

/// The voxels of `box` of `grid`, {start, end} an axis, from a label map's f32 voxels: each is the nearest one of the
/// source, halves going to the even index, positions outside clamped to the border.
Tensor resample_nearest(const Tensor& source, const AxisOrder& order, const SpacedGrid& grid,
                        const std::array<std::array<int64_t, 2>, 3>& box);

}  // namespace sat
