// Two-dimensional images of 8 bits, and how deeper ones become that: windows, grey, RGB, crops.
// Knows no file format (the program reads PNG, JPEG, TIFF and DICOM), no resampling (resize.h) and no model
// (prepare.h).
#pragma once

#include <cstdint>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

/// No image has a longer side or more pixels; readers ask before they allocate.
constexpr int64_t kMaxImageSide = 65535, kMaxImagePixels = int64_t(1) << 27;

struct ImageSize {
  int64_t height = 0, width = 0;
  bool operator==(const ImageSize& other) const { return height == other.height && width == other.width; }
  bool operator!=(const ImageSize& other) const { return !(*this == other); }
};
std::ostream& operator<<(std::ostream& out, ImageSize size);  // 2505 x 2765: height x width

/// Some rows and columns of an image.
struct PixelBox {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Throws Error, naming `name`, unless an image may have this size: both sides 1 to kMaxImageSide, and at most
/// `max_pixels` in all.
void check_image_size(ImageSize size, const std::string& name, int64_t max_pixels = kMaxImagePixels);

/// Pixels of 8 bits, row 0 on top, grey (one channel) or RGB (three). Copies share the pixels, as tensors do.
struct Image8 {
  Tensor pixels;  // u8 [height, width, channels]

  Image8() = default;
  Image8(ImageSize size, int64_t channels);  // uninitialised; throws Error as check_image_size() does
  explicit Image8(const Tensor& pixels);     // throws Error unless it is u8 [height, width, 1 or 3]

  int64_t height() const { return pixels.shape[0]; }
  int64_t width() const { return pixels.shape[1]; }
  int64_t channels() const { return pixels.shape[2]; }
  ImageSize size() const { return {height(), width()}; }
};

/// ITU-R 601 luma in whole numbers, as Pillow has it: (19595 R + 38470 G + 7471 B + 32768) >> 16. A grey image is
/// returned as it is.
Image8 to_grey(const Image8& image);
/// Three equal channels; an RGB image is returned as it is.
Image8 to_rgb(const Image8& image);
/// The pixels of a box, which must lie in the image.
Image8 crop(const Image8& image, PixelBox box);
/// 255 - v, everywhere: what MONOCHROME1 and "minimum is white" ask for, after the window.
Image8 inverted(const Image8& image);

/// Values from which 8 bits are made: `low` and below become 0, `high` and above 255, between them
/// floor(255 (v - low) / (high - low) + 1/2). Where both are equal, what lies above becomes 255 and all else 0.
struct IntensityWindow {
  double low = 0, high = 255;
};

/// Throws Error, naming `name`, unless both ends are finite and low <= high.
void check_window(IntensityWindow window, const std::string& name);

/// The least and the greatest of grey values f32 [height, width]; the training images of RAD-DINO were windowed so.
/// Throws Error, naming `name`, where a value is not finite.
IntensityWindow range_of(const Tensor& values, const std::string& name);

/// Grey values f32 [height, width], finite, to 8 bits.
Image8 apply_window(const Tensor& values, IntensityWindow window);

}  // namespace sat
