// What the readers of the formats give to load_image.cpp, and what they share.
// A reader sees one library, and no other file of the program does.
#pragma once

#include <string>
#include <string_view>

#include "examples/sat/images/load_image.h"

namespace sat::cli {

/// A file's bytes and what may be made of them.
struct EncodedImage {
  const std::string& path;
  const std::string& bytes;
  const ImageOptions& options;

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes.data()); }
  int64_t size() const { return int64_t(bytes.size()); }
};

/// Pixels as stored: either of 8 bits, or deeper grey values that wait for a window.
struct DecodedImage {
  Image8 image;                           // empty where there are values
  Tensor values;                          // f32 [height, width]
  bool inverted = false;                  // once of 8 bits
  bool turn = false;                      // by facts.orientation, whatever the options say
  std::optional<IntensityWindow> window;  // that the file asks for
  ImageFacts facts;                       // format, photometric, bits, orientation
  std::vector<std::string> warnings;
};

bool is_png(std::string_view bytes);
bool is_jpeg(std::string_view bytes);
bool is_tiff(std::string_view bytes);
bool is_dicom(std::string_view bytes);

DecodedImage decode_png(const EncodedImage& file);
DecodedImage decode_jpeg(const EncodedImage& file);
DecodedImage decode_tiff(const EncodedImage& file);
DecodedImage decode_dicom(const EncodedImage& file);

/// The orientation, 1 to 8, in a block of EXIF data (a TIFF header and its first directory); 1 where there is none or
/// the block is damaged.
int exif_orientation(std::string_view block);
/// An image turned as an orientation of 1 to 8 asks, so that it stands upright.
Image8 turned_upright(const Image8& image, int orientation);

}  // namespace sat::cli
