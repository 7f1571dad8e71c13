// What is drawn over an image: maps of warm and cold, masks with outlines, boxes.
// Knows pixels; what maps, masks and boxes mean is the caller's.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::cli {

/// Tints a picture by a map f32 [h, w] of any size, its least value cold and clear, its greatest hot.
void draw_heat(Tensor& picture, const Tensor& map);

/// Tints a picture by a label map u8 of its own size: class k > 0 in class_colour(k - 1), with an outline. `unseen`
/// pixels are darkened.
void draw_labels(Tensor& picture, const Tensor& labels, uint8_t unseen);

/// The outline of a box {left, top, right, bottom} in pixels of the picture, and words at its upper left corner.
void draw_box(Tensor& picture, const std::array<double, 4>& box, const std::string& words, int64_t of_class);

}  // namespace sat::cli
