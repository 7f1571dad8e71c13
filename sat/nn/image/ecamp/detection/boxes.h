// Private. Boxes of ECAMP's detector (ecamp.md section 12): anchors, what the network's numbers mean, and the greedy
// suppression of boxes that show the same thing. All in double, one box behind the other: a few thousand.
#pragma once

#include <array>
#include <vector>

#include "sat/nn/image/ecamp/detection/detection.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// The detector's three grids, coarse to fine, have three anchors each: width and height in pixels of a frame of 416.
using Anchors = std::array<std::array<double, 2>, 3>;
inline constexpr std::array<Anchors, 3> kEcampAnchors{
    {{{{116, 90}, {156, 198}, {373, 326}}}, {{{30, 61}, {62, 45}, {59, 119}}}, {{{10, 13}, {16, 30}, {33, 23}}}}};
inline constexpr double kAnchorFrame = 416;

/// What the network says of one anchor at one place of its grid: a box about a centre, in pixels of the image it saw.
struct Candidate {
  double x = 0, y = 0, width = 0, height = 0;
  double objectness = 0;
  std::vector<double> scores;  // one a class
};

/// Candidates of each image, in the order (anchor, row, column): grid [B, rows, columns, 3 * (5 + classes)] of an image
/// `pixels` wide.
std::vector<std::vector<Candidate>> decode_boxes(const Tensor& grid, const Anchors& anchors, double pixels);

/// The same of all three grids, coarse to fine: one grid's candidates behind the other's.
std::vector<std::vector<Candidate>> decode_boxes(const std::array<Tensor, 3>& grids, double pixels);

/// Overlap of two boxes by the convention that a side from a to b has b - a + 1 pixels.
double overlap(const std::array<double, 4>& a, const std::array<double, 4>& b);

/// Candidates of at least this objectness, class by class: the surest first, and without those that overlap one before
/// them by `most_overlap` or more. Equal ones keep their order.
std::vector<Detection> suppress(const std::vector<Candidate>& candidates, double confidence, double most_overlap);

}  // namespace sat
