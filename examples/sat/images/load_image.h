// Radiographs as files: PNG, JPEG, TIFF and, where the program was built with it, DICOM, to 8-bit pixels by stated
// rules. Knows formats and windows; what a model makes of the pixels is sat/io/images/prepare.h's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sat/io/images/image.h"
#include "sat/io/words/json.h"

namespace sat::cli {

/// How grey values deeper than 8 bits, and those of DICOM whatever their depth, become 8 bits. Files of 8 bits or less
/// are taken as they are.
enum class WindowRule : uint8_t {
  range,     // the least value of the image becomes 0 and the greatest 255, as RAD-DINO's training images were made
  given,     // ImageOptions::given, in stored values, after DICOM's rescale slope and intercept
  dicom,     // the window that a DICOM file asks for; where there is none, and for other files, `range`, with a warning
  saturate,  // values below 0 become 0 and above 255 become 255: what the published processor does to 16-bit files
};
const char* name_of(WindowRule rule);  // "range", "given", "dicom", "saturate"

struct ImageOptions {
  WindowRule window = WindowRule::range;
  IntensityWindow given;
  bool exif = false;  // turn PNG and JPEG as their EXIF orientation says; otherwise that is only warned of
  int64_t max_pixels = kMaxImagePixels, max_bytes = int64_t(1) << 30;  // of an image, of a file
};

/// Fills `window` and `given` from what a user wrote: "range", "dicom", "saturate" or "LOW,HIGH". Throws Error.
void read_window(const std::string& text, ImageOptions& options);

/// What was met, for manifests.
struct ImageFacts {
  std::string format;                     // "PNG", "JPEG", "TIFF", "DICOM"
  std::string photometric;                // "grey", "RGB", "palette", "YCbCr", "MONOCHROME1", ...
  int bits = 8;                           // a stored sample
  ImageSize size;                         // as loaded
  int64_t channels = 1;                   // as loaded: 1 grey, 3 RGB
  int orientation = 1;                    // EXIF's or TIFF's number, 1: as stored
  bool turned = false;                    // was the orientation applied?
  std::optional<IntensityWindow> window;  // that made 8 bits of deeper values
  WindowRule rule = WindowRule::range;    // where it came from
};
Json to_json(const ImageFacts& facts);

struct LoadedImage {
  Image8 image;
  ImageFacts facts;
  std::vector<std::string> warnings;
};

/// Reads an image. The format is known by the first bytes, never by the name. The first page of a TIFF is read; an
/// alpha channel is dropped, not blended; MONOCHROME1 and "minimum is white" are inverted; a TIFF is turned as its
/// orientation says. Sizes are held against the file and the limits before anything is allocated for them. Throws
/// Error, one sentence that names the file, for anything malformed, truncated, too large or not supported.
LoadedImage load_image(const std::string& path, const ImageOptions& options = {});

/// Can this build read DICOM?
bool reads_dicom();

}  // namespace sat::cli
