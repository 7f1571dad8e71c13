// Private. What ECAMP's detector is trained for, as numbers (ecamp.md section 12): which anchor of which cell answers
// for a box that is there, and how far its numbers are from that.
#pragma once

#include "sat/nn/image/ecamp/detection/boxes.h"

namespace sat {

/// A box that is there, relative to the image: its centre and sides, from 0 to below 1.
struct TrueBox {
  int64_t category = 0;
  double x = 0, y = 0, width = 0, height = 0;
};

/// What one anchor at one cell should say.
struct YoloCell {
  bool assigned = false;        // it answers for a box
  bool counts_as_empty = true;  // its objectness should be 0
  double x = 0, y = 0, width = 0, height = 0;
  std::vector<uint8_t> classes;  // a flag a class
};

/// Cells in the order (image, anchor, row, column) for a grid of `size` x `size` cells of an image `pixels` wide.
/// QUIRK: a box and an anchor overlap by sides of one cell more, which is much on a coarse grid; and every box is
/// assigned at every scale. Anchors that overlap it by more than 0.5 do not count as empty, the best one is assigned
/// even where it overlaps less, and then counts as empty all the same.
std::vector<YoloCell> assign_boxes(const std::vector<std::vector<TrueBox>>& truth, const Anchors& anchors, int64_t size,
                                   int64_t classes, double pixels);

/// The loss at one scale; every term is a mean over all cells, those without a box included.
struct YoloLoss {
  double x = 0, y = 0, width = 0, height = 0, objectness = 0, classes = 0;
  double total() const { return 2.5 * (x + y + width + height) + objectness + classes; }
};
YoloLoss yolo_loss(const Tensor& grid, const std::vector<YoloCell>& cells);

}  // namespace sat
