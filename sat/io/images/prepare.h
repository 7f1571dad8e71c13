// What an image becomes before a model sees it: resized, cropped, normalised, with the way back.
// Follows the published processors to the bit. Knows neither files nor networks.
#pragma once

#include "sat/io/images/placement.h"
#include "sat/io/images/resize.h"

namespace sat {

/// The steps, in order. An image of any size is taken: one that is 1 or 3 pixels high too.
///   Differs: the published processor of RAD-DINO guesses where the channels are, and misreads such images.
struct ImagePreparation {
  enum class Fit : uint8_t {
    crop,  // the shorter side becomes `shortest` (shortest_edge_size(), resize_antialiased()), then the centre is
           // cut out, the first row and column being floor((side - size) / 2)
    crop_rounded,  // the same, but round((side - size) / 2), halves to even, as torchvision's CenterCrop has it
    squeeze        // both sides become `size` whatever the aspect (resize_linear())
  };
  Fit fit = Fit::crop;
  ResizeFilter filter = ResizeFilter::bicubic;  // of the crops
  PassOrder order = PassOrder::pillow_13;       // of the crops
  int64_t shortest = 518;                       // of the crops: at least `size`
  int64_t size = 518;                           // of the model's square input
  bool grey = false;                            // colours become their luma (to_grey()) once cropped
  double mean = 0.5307, deviation = 0.2583;     // (v / 255 - mean) / deviation, in float32, for all channels
};

ImagePreparation rad_dino_input(int64_t size = 518);  // Pillow bicubic, centre crop
ImagePreparation ecamp_classification_input();        // 224, Pillow bilinear, centre crop, luma
ImagePreparation ecamp_segmentation_input();          // 224, OpenCV bilinear, aspect not kept
ImagePreparation ecamp_detection_input();             // the same
/// 448 for the image encoder with its own halving: Pillow bicubic, luma. The random crop and flip of the pre-training
/// are replaced by the centre crop.
ImagePreparation ecamp_pretraining_input();

struct PreparedImage {
  Tensor input;              // f32 [1, size, size, 3], channels last, three equal channels for a grey image
  Image8 pixels;             // what was normalised, to look at
  ImagePlacement placement;  // of the input in the image
};

/// Runs the steps; every pixel depends on the image and the steps alone. Throws Error for steps that make no sense.
/// Memory beyond the result: the image's rows at the width of the crop, 8 bits each.
PreparedImage prepare_image(const Image8& image, const ImagePreparation& steps);

}  // namespace sat
