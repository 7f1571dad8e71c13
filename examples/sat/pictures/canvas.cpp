// Pasting, captions and grids of pictures.
#include "examples/sat/pictures/canvas.h"

#include <algorithm>
#include <cstring>

#include "sat/io/images/resize.h"

namespace sat::cli {

namespace {

constexpr int64_t kGap = 8;
constexpr Colour kWarning{255, 176, 64};

}  // namespace

Tensor empty_picture(int64_t width, int64_t height) {
  Tensor picture({height, width, 3}, DType::u8);
  fill_rectangle(picture, 0, 0, width, height, kPaper);
  return picture;
}

Tensor picture_of(const Image8& image, int64_t longest) {
  const int64_t side = std::max(image.height(), image.width());
  if (side <= longest) return to_rgb(image).pixels.clone();
  const auto scaled = [&](int64_t size) { return std::max<int64_t>(1, size * longest / side); };
  return to_rgb(resize_antialiased(image, {scaled(image.height()), scaled(image.width())}, ResizeFilter::bilinear))
      .pixels;
}

Tensor enlarged(const Tensor& picture, int64_t width, int64_t height) {
  return resize_nearest(Image8(picture), {height, width}).pixels;
}

void paste(Tensor& to, int64_t x, int64_t y, const Tensor& from) {
  const int64_t left = std::max<int64_t>(0, -x), right = std::min(from.shape[1], to.shape[1] - x);
  if (right <= left) return;
  for (int64_t row = std::max<int64_t>(0, -y); row < std::min(from.shape[0], to.shape[0] - y); ++row) {
    std::memcpy(to.data<uint8_t>() + ((y + row) * to.shape[1] + x + left) * 3,
                from.data<uint8_t>() + (row * from.shape[1] + left) * 3, size_t(3 * (right - left)));
  }
}

Tensor grid_of(const std::vector<Tensor>& pictures, int64_t columns) {
  int64_t width = 1, height = 1;
  for (const Tensor& picture : pictures) {
    height = std::max(height, picture.shape[0]);
    width = std::max(width, picture.shape[1]);
  }
  const auto count = int64_t(pictures.size());
  columns = std::clamp<int64_t>(columns, 1, std::max<int64_t>(1, count));
  const int64_t rows = std::max<int64_t>(1, (count + columns - 1) / columns);
  Tensor grid = empty_picture(kGap + columns * (width + kGap), kGap + rows * (height + kGap));
  for (int64_t i = 0; i < count; ++i) {
    paste(grid, kGap + i % columns * (width + kGap), kGap + i / columns * (height + kGap), pictures[size_t(i)]);
  }
  return grid;
}

Tensor with_lines(const Tensor& picture, const std::vector<Line>& lines) {
  if (lines.empty()) return picture;
  const int64_t height = picture.shape[0], width = picture.shape[1];
  Tensor whole = empty_picture(width, height + kGap / 2 + int64_t(lines.size()) * kLineHeight);
  paste(whole, 0, 0, picture);
  const int64_t most = std::max<int64_t>(3, (width - kGap) / (kTextScale * kGlyphAdvance));
  int64_t y = height + kGap / 2;
  for (const Line& line : lines) {
    draw_text(whole, kGap / 2, y, sat::shortened(line.text, most), kTextScale, line.colour);
    y += kLineHeight;
  }
  return whole;
}

std::vector<Line> remark_lines(const std::string& remark) {
  if (remark.empty()) return {};
  return {{remark, kWarning}};
}

Colour class_colour(int64_t index) {
  constexpr Colour kColours[] = {{230, 80, 80},  {80, 160, 250}, {90, 200, 90},   {245, 190, 60}, {180, 110, 230},
                                 {70, 210, 210}, {250, 140, 60}, {240, 130, 190}, {160, 190, 60}, {150, 140, 250}};
  const Colour& base = kColours[size_t(index) % std::size(kColours)];
  const double shade = 1.0 / double(1 + index / int64_t(std::size(kColours)));
  Colour colour;
  for (size_t c = 0; c < 3; ++c) colour[c] = uint8_t(double(base[c]) * shade);
  return colour;
}

}  // namespace sat::cli
