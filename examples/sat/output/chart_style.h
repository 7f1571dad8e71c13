// What the charts share: distances, colours, and text at one size.
// Knows pixels; what a chart shows is its own.
#pragma once

#include <algorithm>
#include <string>

#include "sat/io/pictures/bitmap_font.h"

namespace sat::cli::chart {

inline constexpr int64_t kMargin = 24, kGap = 18, kSwatch = 15, kLegendText = 24;
inline constexpr Colour kGrid{44, 46, 52}, kLine{235, 87, 87};
/// Colours of what is compared, told apart on kPaper; the first ones best.
inline constexpr Colour kKinds[] = {{86, 156, 214},  {102, 187, 106}, {224, 168, 66},  {186, 120, 200}, {235, 120, 100},
                                    {77, 208, 200},  {200, 204, 92},  {240, 150, 190}, {150, 150, 240}, {160, 120, 90},
                                    {140, 200, 250}, {180, 230, 170}, {250, 210, 140}, {170, 170, 178}};

inline int64_t width_of(const std::string& text) { return text_width(text, kTextScale); }

inline void write(Tensor& image, int64_t x, int64_t y, const std::string& text, const Colour& colour) {
  draw_text(image, x, y, text, kTextScale, colour);
}

}  // namespace sat::cli::chart
