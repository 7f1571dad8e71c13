// Private: A small font, drawn for this project, and a canvas to write on, in the colours that all pictures share.
// Knows pixels only; what is written where is the business of each picture.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

using Colour = std::array<uint8_t, 3>;  // red, green, blue

inline constexpr int64_t kGlyphWidth = 5, kGlyphHeight = 9;  // two of the rows are below the baseline
inline constexpr int64_t kGlyphAdvance = 6;                  // from one character to the next

inline constexpr Colour kPaper{16, 17, 20}, kInk{232, 234, 238}, kFaint{134, 138, 146};
inline constexpr int64_t kTextScale = 2, kLineHeight = 24;  // of running text, in pixels

/// Mixes `colour` into pixel (x, y) of an RGB image u8 [rows, columns, 3]; outside of it nothing happens.
void blend_pixel(Tensor& image, int64_t x, int64_t y, const Colour& colour, double opacity);
void fill_rectangle(Tensor& image, int64_t x, int64_t y, int64_t width, int64_t height, const Colour& colour);

/// Pixels that draw_text() takes in x.
int64_t text_width(const std::string& text, int64_t scale);
/// Characters of a text, which is UTF-8.
int64_t text_length(const std::string& text);
/// The text itself, or its beginning and two dots, at most `most` characters together.
std::string shortened(const std::string& text, int64_t most);
/// Writes UTF-8 text with its upper left corner at (x, y), each font pixel `scale` pixels wide, edges smoothed. Letters
/// with accents lose them; what is not in ASCII even then is a box.
void draw_text(Tensor& image, int64_t x, int64_t y, const std::string& text, int64_t scale, const Colour& colour);

}  // namespace sat
