// EXIF's orientation: finding it, and turning an image by it.
#include <algorithm>

#include "examples/sat/images/decode.h"

namespace sat::cli {

namespace {

/// Unsigned numbers of a block in either order of bytes; 0 where they would pass its end.
struct Block {
  std::string_view bytes;
  bool big = false;

  uint32_t number(size_t at, size_t count) const {
    if (at > bytes.size() || bytes.size() - at < count) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) {
      value = value << 8 | uint8_t(bytes[at + (big ? i : count - 1 - i)]);
    }
    return value;
  }
};

}  // namespace

int exif_orientation(std::string_view bytes) {
  constexpr uint32_t kOrientation = 0x112, kShort = 3;
  const std::string_view order = bytes.substr(0, 4);
  const std::string_view little("II*\0", 4), big("MM\0*", 4);
  if (order != little && order != big) return 1;
  const Block block{bytes, order == big};
  const size_t directory = block.number(4, 4);
  const size_t entries = block.number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > bytes.size()) break;
    if (block.number(entry, 2) != kOrientation || block.number(entry + 2, 2) != kShort) continue;
    const uint32_t value = block.number(entry + 8, 2);
    return value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

Image8 turned_upright(const Image8& image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Where the row and the column of an upright pixel run in the stored image.
  const bool swapped = orientation >= 5;
  const bool rows_back = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  const bool columns_back = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const int64_t height = image.height(), width = image.width(), channels = image.channels();
  Image8 upright(swapped ? ImageSize{width, height} : ImageSize{height, width}, channels);
  const uint8_t* from = image.pixels.data<uint8_t>();
  uint8_t* to = upright.pixels.data<uint8_t>();
  for (int64_t y = 0; y < upright.height(); ++y) {
    for (int64_t x = 0; x < upright.width(); ++x) {
      int64_t row = swapped ? x : y, column = swapped ? y : x;
      if (swapped ? columns_back : rows_back) row = height - 1 - row;
      if (swapped ? rows_back : columns_back) column = width - 1 - column;
      to = std::copy_n(from + (row * width + column) * channels, channels, to);
    }
  }
  return upright;
}

}  // namespace sat::cli
