// Private. Does a scan look like what it is said to be? Cheap doubts, each a sentence with its reason; none stops
// anything here. Looks at sizes, values and names; knows no file format and no model.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sat/io/scans/volume.h"

namespace sat {

/// Doubts about a grid's size: voxels outside 0.01 .. 100 mm, or less than 2 mm or more than 3 m along an axis.
std::vector<std::string> geometry_warnings(const Geometry& geometry);

/// Doubts about voxels f32 [H, W, D] said to be of `modality` ("ct" in any case; anything else counts as not CT). For
/// all: one value almost everywhere, or few whole numbers in patches, as in a label map. For CT: nothing below -200, a
/// range too small for Hounsfield units, hardly anything about 0 but padding. For others: air at -1000 and tissue about
/// 0, as in CT. Reads a sample of at most 32768 voxels spread over the scan, the same in every run.
std::vector<std::string> content_warnings(const Volume& scan, const std::string& modality);

/// Is this the name of a mask, a label map or a segmentation, such as "case_seg.nii.gz", "liver-mask.nii",
/// "sub-01_dseg.nii.gz" or "pt_1_label.nii.gz"? Looks at the last part of the path alone.
bool looks_like_a_segmentation_name(const std::string& path);

/// Lengths along the patient's axes, left-right, back-front and feet-head, in millimetres: how much a scan shows.
std::array<double, 3> field_of_view_mm(const Geometry& geometry);

/// Throws Error, with the numbers, unless a file's grid is the one expected: equal sizes, and no corner further away
/// than a tenth of the smallest voxel length. `of` says whose the expected grid is.
void check_same_grid(const Geometry& expected, const std::string& of, const Geometry& grid, const std::string& path);

}  // namespace sat
