// Pictures put together from images: at other sizes, beside each other, with words below.
// Knows pixels and words; what they show is the caller's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/io/images/image.h"
#include "sat/io/pictures/bitmap_font.h"

namespace sat::cli {

/// A picture: u8 [rows, columns, 3].
Tensor empty_picture(int64_t width, int64_t height);

/// Grey or colours as a picture of its own size, or smaller where its longer side passes `longest`.
Tensor picture_of(const Image8& image, int64_t longest);

/// The pixels at another size: each becomes that of the cell its centre lies in, so that cells stay visible.
Tensor enlarged(const Tensor& picture, int64_t width, int64_t height);

/// Copies a picture to where its upper left corner is (x, y); what lies outside is left out.
void paste(Tensor& to, int64_t x, int64_t y, const Tensor& from);

/// Pictures in rows of `columns`, each in a cell as large as the largest, with space between.
Tensor grid_of(const std::vector<Tensor>& pictures, int64_t columns);

struct Line {
  std::string text;
  Colour colour = kInk;
};
/// The picture with lines of text below it, cut to its width.
Tensor with_lines(const Tensor& picture, const std::vector<Line>& lines);

/// What a picture made by weights that nobody trained must say; nothing for an empty remark.
std::vector<Line> remark_lines(const std::string& remark);

/// A colour for each of any number of classes, easy to tell apart for the first ten.
Colour class_colour(int64_t index);

}  // namespace sat::cli
