// A scan in memory: voxels and where they lie in the patient.
// Knows millimetres and axes, not files (nifti.h) and not what a model wants (preprocess.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

/// A 4x4 matrix whose last row is 0 0 0 1; maps voxel indices (i, j, k, 1) to patient millimetres, RAS+.
struct Affine {
  std::array<std::array<double, 4>, 4> m{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}};
};
Affine operator*(const Affine& a, const Affine& b);
Affine inverse(const Affine& a);  // throws Error when singular or not finite
std::array<double, 3> apply(const Affine& a, const std::array<double, 3>& point);
std::array<double, 3> column_norms(const Affine& a);  // millimetres a step along each array axis
double determinant(const Affine& a);                  // of its linear part: a voxel's mm3, negative where mirrored

/// A grid of voxel centres. Array axes 0, 1, 2 are H, W, D, with D contiguous in memory.
struct Geometry {
  std::array<int64_t, 3> size{};  // voxels along H, W, D
  Affine voxel_to_world_mm;       // voxel index -> patient RAS+
  int64_t voxels() const { return size[0] * size[1] * size[2]; }
};

/// Voxels f32 [H, W, D] and their grid. Axis 0 is the file's first (fastest) axis.
struct Volume {
  Tensor voxels;
  Geometry geometry;
};

/// Which patient axis each array axis follows most closely: 0 left-right, 1 back-front, 2 feet-head; `flipped` where
/// growing indices go left, back or feetwards.
struct AxisMap {
  std::array<int, 3> world_axis;
  std::array<bool, 3> flipped;
};

/// Greedy choice, array axis 0 first, on the rotation nearest to the affine with its spacing divided out, which is how
/// nibabel read an orientation when the reference's values were recorded (from 5.4 on it takes the clearest axis first,
/// which differs for strong shear and for rotations near 45 degrees). Throws Error when an axis has no direction.
AxisMap closest_axes(const Affine& voxel_to_world_mm);

/// Three letters, the positive direction of each array axis: "RAS" grows to the right, front and top of the patient.
std::string orientation_code(const Affine& voxel_to_world_mm);

}  // namespace sat
