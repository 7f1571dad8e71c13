// A picture of a result: three planes of the scan with the masks over it, and a legend.
// Makes pixels; png.h writes them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "sat/io/scans/volume.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Intensities shown as black and as white.
struct DisplayWindow {
  float low = 0, high = 1;
};

/// Soft tissue (-160 .. 240 HU) where the word means ct (modality.h); for anything else the 1st and 99.5th percentiles
/// of a regular sample of the voxels, those equal to the smallest value left out.
DisplayWindow display_window(const Volume& scan, const std::string& modality);

struct PreviewOptions {
  bool orientation_known = true;  // false: a line says so, and no letters claim to know left from right
};

/// Where the three planes cut the scan.
struct PreviewPlanes {
  std::array<int64_t, 3> voxel{};  // indices along H, W, D
};

/// Through the masks' centre of mass, moved along each axis to where most structures are seen: a structure counts by
/// its share of its largest cross-section, and of equally good planes the one nearest to the centre is taken. The
/// middle of the scan when all masks are empty.
PreviewPlanes preview_planes(const BitMasks& masks);

/// An RGB image u8 [rows, columns, 3]: axial, coronal and sagittal plane side by side, each with a scale bar, as
/// radiologists look at them (the patient's right at the left of the picture, the front at the left in the sagittal),
/// marked with letters; masks as tints with outlines, smaller structures on top; below a legend with the names and
/// volumes in ml. Air around the patient is cut away, and of a long body only the part around the planes is shown.
/// Oblique scans are shown along their own axes under the nearest names. Throws Error when sizes or the number of names
/// do not fit.
Tensor preview(const Volume& scan, const BitMasks& masks, const std::vector<std::string>& names,
               const DisplayWindow& window, const PreviewOptions& options = {});

}  // namespace sat
