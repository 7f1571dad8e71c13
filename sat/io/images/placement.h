// Where a model's pixels lie in the image that they were made from, and the way back: score maps, masks and boxes on
// the image's own pixels. Knows geometry in two dimensions; how an image is prepared is prepare.h's.
#pragma once

#include <array>

#include "sat/io/images/image.h"

namespace sat {

/// The image was resized as a whole, and the model saw one box of the result. Positions are in pixels from the image's
/// top left corner, so that the centre of pixel (y, x) is at (y + 1/2, x + 1/2).
struct ImagePlacement {
  ImageSize image;    // as in the file
  ImageSize resized;  // all of it, at the model's scale
  PixelBox seen;      // of `resized`: what the model saw
};

/// The image's own pixels whose centres the model saw; height or width is 0 where there are none.
PixelBox seen_pixels(const ImagePlacement& placement);

/// A score map f32 [h, w] or [h, w, classes] over what the model saw, whatever its resolution (its input's, or one
/// score a patch), on the image's own pixels: [H, W] or [H, W, classes]. Bilinear between the centres of the map's
/// cells, the outermost of which go on to the border. Pixels that the model did not see become `unseen`.
Tensor scores_on_image(const Tensor& scores, const ImagePlacement& placement, float unseen = 0);

/// The value of a mask or label map u8 [h, w] that pixels the model did not see get, unless told otherwise.
constexpr uint8_t kUnseen = 255;
/// The same for a mask or label map u8 [h, w]: each pixel gets the value of the cell that its centre lies in.
Tensor mask_on_image(const Tensor& mask, const ImagePlacement& placement, uint8_t unseen = kUnseen);

/// A box {left, top, right, bottom} in pixels of the model's input, in pixels of the image, cut at the image's border.
std::array<double, 4> box_on_image(const std::array<double, 4>& box, const ImagePlacement& placement);

}  // namespace sat
