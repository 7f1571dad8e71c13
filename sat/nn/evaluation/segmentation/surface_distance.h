// Private. How far the elements of one surface lie from another: exact Euclidean distances, in time that does not grow
// with the distance. Knows places and millimetres, not masks.
#pragma once

#include <array>
#include <vector>

#include "sat/nn/evaluation/segmentation/mask_surface.h"

namespace sat {

/// For each element of `from` the distance in mm to the nearest element of `to`, both as surface_of() orders them;
/// infinite where `to` has none. Axes are taken for perpendicular, `spacing_mm` apart.
///
/// The distance transform one axis at a time (Felzenszwalb and Huttenlocher 2012): along D by the next elements of a
/// line, along W by the lower envelope of parabolas, along H only for the places that are asked for. Work: the product
/// of the H of `to`, and of the W and D of `from`, of their bounding boxes. Memory: at most 32 MiB of such places at
/// once, or one layer of constant d.
std::vector<double> distances_to(const std::vector<SurfaceElement>& from, const std::vector<SurfaceElement>& to,
                                 const std::array<double, 3>& spacing_mm);

}  // namespace sat
