// Private. The surface of a mask as elements between voxels, and their areas: what surface scores are sums over.
// Knows one mask; how far surfaces lie apart is surface_distance.h's.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sat/io/masks/bit_masks.h"

namespace sat {

/// A place where eight voxels meet, not all of which are alike. Place (h, w, d) is the lower corner of voxel (h, w, d),
/// so places run from 0 to the size of the grid, its end included; outside the grid nothing is set.
struct SurfaceElement {
  int32_t h = 0, w = 0, d = 0;
  uint8_t code = 0;  // which of the eight are set: (h-1, w-1, d-1) is bit 7, (h-1, w-1, d) bit 6, ..., (h, w, d) bit 0
};

/// All elements of a prompt's mask, ascending by h, then w, then d. Work: 64 places at once; memory: the elements.
std::vector<SurfaceElement> surface_of(const BitMasks& masks, int64_t prompt);

/// The area in mm2 that an element of each code stands for, spec Appendix A: every code has up to four normals n, in
/// eighths, and the area is the sum of |(n0 s1 s2, n1 s0 s2, n2 s0 s1)| / 8 over them; codes 0 and 255 have none.
std::array<double, 256> surface_areas(const std::array<double, 3>& spacing_mm);

}  // namespace sat
