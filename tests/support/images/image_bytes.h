// PNG and TIFF files put together by hand, right or wrong on purpose.
#pragma once

#include <cstdint>
#include <string>

#include "sat/io/files/file.h"

namespace sat::test {

/// A whole number of so many bytes.
inline std::string number_bytes(uint64_t value, int count, bool big) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += char(value >> 8 * (big ? count - 1 - i : i) & 255);
  return bytes;
}

/// A chunk of a PNG; `wrong` is added to its checksum.
inline std::string png_chunk(const std::string& kind, const std::string& body, uint32_t wrong = 0) {
  const std::string whole = kind + body;
  return number_bytes(body.size(), 4, true) + whole +
         number_bytes(crc32(whole.data(), int64_t(whole.size())) + wrong, 4, true);
}

inline const std::string kPngMark = "\x89PNG\r\n\x1A\n";

/// The header of a PNG.
inline std::string png_header(uint64_t height, uint64_t width, int bits, int colour) {
  const std::string tail = {char(bits), char(colour), 0, 0, 0};
  return png_chunk("IHDR", number_bytes(width, 4, true) + number_bytes(height, 4, true) + tail);
}

/// A PNG of samples that fill whole rows, unfiltered.
inline std::string png_bytes(int64_t height, int64_t width, int bits, int colour, const std::string& samples) {
  const size_t row = samples.size() / size_t(height);
  std::string raw;
  for (int64_t y = 0; y < height; ++y) raw += '\0' + samples.substr(size_t(y) * row, row);
  return kPngMark + png_header(uint64_t(height), uint64_t(width), bits, colour) +
         png_chunk("IDAT", zlib_compress(raw)) + png_chunk("IEND", "");
}

/// What a TIFF says of itself.
struct TiffTags {
  int bits = 8, photometric = 1, samples = 1, compression = 1, orientation = 1, format = 1;
  int64_t strip_bytes = -1;         // -1: as many as there are
  int64_t height = -1, width = -1;  // -1: the real ones
};

/// A little-endian TIFF of one strip.
inline std::string tiff_bytes(int64_t height, int64_t width, const std::string& samples, const TiffTags& tags = {}) {
  const auto entry = [](int tag, uint64_t value) {
    return number_bytes(uint64_t(tag), 2, false) + number_bytes(4, 2, false) + number_bytes(1, 4, false) +
           number_bytes(value, 4, false);
  };
  const uint64_t rows = uint64_t(tags.height < 0 ? height : tags.height);
  const uint64_t columns = uint64_t(tags.width < 0 ? width : tags.width);
  const uint64_t strip = tags.strip_bytes < 0 ? samples.size() : uint64_t(tags.strip_bytes);
  std::string entries = entry(256, columns) + entry(257, rows);
  entries += entry(258, uint64_t(tags.bits)) + entry(259, uint64_t(tags.compression));
  entries += entry(262, uint64_t(tags.photometric)) + entry(273, 8) + entry(274, uint64_t(tags.orientation));
  entries += entry(277, uint64_t(tags.samples)) + entry(278, rows) + entry(279, strip);
  entries += entry(339, uint64_t(tags.format));
  return "II*" + std::string(1, '\0') + number_bytes(8 + samples.size(), 4, false) + samples +
         number_bytes(11, 2, false) + entries + number_bytes(0, 4, false);
}

}  // namespace sat::test
