// Blending tints and lines into pictures.
#include "examples/sat/pictures/overlays.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/pictures/canvas.h"
#include "sat/tensor/ops.h"

namespace sat::cli {

namespace {

/// From 0, cold, to 1, hot.
Colour heat_colour(double value) {
  constexpr std::array<Colour, 5> kStops{
      {{20, 10, 60}, {110, 25, 110}, {200, 60, 70}, {250, 150, 30}, {252, 255, 165}}};
  const double at = std::clamp(value, 0.0, 1.0) * double(kStops.size() - 1);
  const size_t low = std::min(size_t(at), kStops.size() - 2);
  Colour colour;
  for (size_t c = 0; c < 3; ++c) {
    const double part = at - double(low);
    colour[c] = uint8_t(std::lround((1 - part) * double(kStops[low][c]) + part * double(kStops[low + 1][c])));
  }
  return colour;
}

}  // namespace

void draw_heat(Tensor& picture, const Tensor& map) {
  const int64_t h = map.shape[0], w = map.shape[1], height = picture.shape[0], width = picture.shape[1];
  const auto [least, most] = std::minmax_element(map.data<float>(), map.data<float>() + h * w);
  const double low = double(*least), range = double(*most) - low;
  const Tensor smooth = resample2d(map.reshape({1, h, w, 1}), linear_taps(h, height), linear_taps(w, width));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const double value = range > 0 ? (double(smooth.data<float>()[y * width + x]) - low) / range : 0;
      blend_pixel(picture, x, y, heat_colour(value), 0.25 + 0.45 * value);
    }
  }
}

void draw_labels(Tensor& picture, const Tensor& labels, uint8_t unseen) {
  const int64_t height = picture.shape[0], width = picture.shape[1];
  const uint8_t* label = labels.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const uint8_t here = label[y * width + x];
      if (here == unseen) blend_pixel(picture, x, y, kPaper, 0.6);
      if (here == 0 || here == unseen) continue;
      const bool inside = x > 0 && y > 0 && x + 1 < width && y + 1 < height && label[y * width + x - 1] == here &&
                          label[y * width + x + 1] == here && label[(y - 1) * width + x] == here &&
                          label[(y + 1) * width + x] == here;
      blend_pixel(picture, x, y, class_colour(here - 1), inside ? 0.3 : 0.9);
    }
  }
}

void draw_box(Tensor& picture, const std::array<double, 4>& box, const std::string& words, int64_t of_class) {
  const Colour colour = class_colour(of_class);
  const auto at = [](double value) { return int64_t(std::floor(value)); };
  const int64_t left = at(box[0]), top = at(box[1]), right = at(box[2]), bottom = at(box[3]);
  constexpr int64_t kThick = 2;
  fill_rectangle(picture, left, top, right - left, kThick, colour);
  fill_rectangle(picture, left, bottom - kThick, right - left, kThick, colour);
  fill_rectangle(picture, left, top, kThick, bottom - top, colour);
  fill_rectangle(picture, right - kThick, top, kThick, bottom - top, colour);
  const int64_t height = kGlyphHeight * kTextScale + 4;
  const int64_t y = top >= height ? top - height : std::min(top + kThick, picture.shape[0] - height);
  const int64_t x =
      std::clamp<int64_t>(left, 0, std::max<int64_t>(0, picture.shape[1] - text_width(words, kTextScale)));
  fill_rectangle(picture, x, y, text_width(words, kTextScale) + 4, height, kPaper);
  draw_text(picture, x + 2, y + 2, words, kTextScale, colour);
}

}  // namespace sat::cli
