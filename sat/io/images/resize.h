// Resizing 8-bit images to the bit as two libraries do it: Pillow (antialiased) and OpenCV (not).
// Knows pixels only; which model wants which is prepare.h's.
#pragma once

#include "sat/io/images/image.h"

namespace sat {

/// Pillow's filters: a triangle of radius 1, and Keys' cubic with a = -1/2 of radius 2, in pixels of the coarser grid.
enum class ResizeFilter : uint8_t { bilinear, bicubic };

/// Which pass of Pillow's comes first, and is rounded to 8 bits before the other, which some pixels show. Up to version
/// 12 it was the horizontal one; since 13 it is the vertical one where that drops rows, and more than twice as many as
/// the horizontal one drops columns (radiographs more than twice as high as wide).
enum class PassOrder : uint8_t { pillow_13, horizontal_first };

/// As Pillow's Image.resize(): every output is a weighted mean of the inputs under the filter, which is stretched where
/// the image shrinks; weights in 22-bit fixed point, sums rounded and clipped, after each of two passes. Each channel
/// by itself.
/// Of the resized image only the pixels in `part` are computed, and they do not depend on it; so an image may grow to
/// any size as long as the part is a fair one (check_image_size()). Work: about 4 or 2 taps an output pixel and axis,
/// times the factor by which the axis shrinks.
Image8 resize_antialiased(const Image8& image, ImageSize to, ResizeFilter filter, PixelBox part,
                          PassOrder order = PassOrder::pillow_13);
Image8 resize_antialiased(const Image8& image, ImageSize to, ResizeFilter filter,
                          PassOrder order = PassOrder::pillow_13);

/// As OpenCV's resize() with INTER_LINEAR: two neighbours an axis however much the image shrinks, weights in 11-bit
/// fixed point. Exactly half the size in both axes is the mean of 2 x 2 pixels, rounded, as there.
Image8 resize_linear(const Image8& image, ImageSize to);
/// As OpenCV's resize() with INTER_NEAREST: floor(d * in / out).
Image8 resize_nearest(const Image8& image, ImageSize to);

/// The size whose shorter side is `shortest` and whose longer one keeps the aspect, its fraction cut off.
ImageSize shortest_edge_size(ImageSize from, int64_t shortest);

}  // namespace sat
