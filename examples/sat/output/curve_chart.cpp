// Each curve is drawn as one shape, so that a thousand short steps look like a line.
#include "examples/sat/output/curve_chart.h"

#include <cmath>

#include "examples/sat/output/chart_style.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

using namespace chart;

constexpr int64_t kSide = 560;      // of a square, in pixels
constexpr int64_t kAxis = 64;       // to the left of it, for numbers
constexpr double kHalfWidth = 1.1;  // of a line, in pixels
constexpr size_t kMostCurves = std::size(kKinds);

void check(const CurveChart& chart) {
  SAT_CHECK(!chart.panels.empty(), "a chart without panels");
  for (const CurvePanel& panel : chart.panels) {
    const auto& [left, right] = panel.x_range;
    const auto& [low, high] = panel.y_range;
    SAT_CHECK(left < right && low < high, "panel ", panel.title, " ranges over ", left, " to ", right, " and ", low,
              " to ", high);
    for (const Curve& curve : panel.curves) {
      for (const auto& [x, y] : curve.points) {
        SAT_CHECK(x >= left && x <= right && y >= low && y <= high, "curve ", curve.name, " has a point (", x, ", ", y,
                  ") outside its panel");
      }
    }
  }
}

size_t drawn(const CurvePanel& panel) { return std::min(panel.curves.size(), kMostCurves); }

int64_t legend_lines(const CurvePanel& panel) {
  return int64_t(drawn(panel)) + (panel.curves.size() > kMostCurves ? 1 : 0);
}

/// Distance of (x, y) from the segment between two places.
double distance(double x, double y, const std::pair<double, double>& a, const std::pair<double, double>& b) {
  const double dx = b.first - a.first, dy = b.second - a.second, length = dx * dx + dy * dy;
  const double along = length == 0 ? 0 : std::clamp(((x - a.first) * dx + (y - a.second) * dy) / length, 0.0, 1.0);
  return std::hypot(x - a.first - along * dx, y - a.second - along * dy);
}

/// Mixes a line through these places, in pixels from the square's upper left corner, into the picture.
void draw_line(Tensor& image, int64_t left, int64_t top, const std::vector<std::pair<double, double>>& places,
               const Colour& colour, double opacity) {
  constexpr int64_t kAround = 3, kRow = kSide + 2 * kAround;
  std::vector<float> cover(size_t(kRow * kRow), 0.0F);
  for (size_t i = 0; i + 1 < places.size(); ++i) {
    const auto &a = places[i], &b = places[i + 1];
    const auto low = [](double p, double q) { return int64_t(std::floor(std::min(p, q))) - kAround + 1; };
    const auto high = [](double p, double q) { return int64_t(std::ceil(std::max(p, q))) + kAround - 1; };
    for (int64_t y = low(a.second, b.second); y <= high(a.second, b.second); ++y) {
      for (int64_t x = low(a.first, b.first); x <= high(a.first, b.first); ++x) {
        const double inside = kHalfWidth + 0.5 - distance(double(x), double(y), a, b);
        float& there = cover[size_t((y + kAround) * kRow + x + kAround)];
        there = std::max(there, float(std::clamp(inside, 0.0, 1.0)));
      }
    }
  }
  for (int64_t y = -kAround; y < kSide + kAround; ++y) {
    for (int64_t x = -kAround; x < kSide + kAround; ++x) {
      const float there = cover[size_t((y + kAround) * kRow + x + kAround)];
      if (there > 0) blend_pixel(image, left + x, top + y, colour, opacity * double(there));
    }
  }
}

std::string tick(const std::pair<double, double>& range, int64_t i) {
  const double value = range.first + double(i) * (range.second - range.first) / 5;
  return std::abs(value) < 1000 ? significant(value, 3) : std::to_string(std::llround(value));
}

void draw_grid(Tensor& image, const CurvePanel& panel, int64_t left, int64_t top) {
  for (int64_t i = 0; i <= 5; ++i) {
    const int64_t at = std::llround(double(i) * double(kSide - 1) / 5);
    fill_rectangle(image, left + at, top, 1, kSide, kGrid);
    fill_rectangle(image, left, top + kSide - 1 - at, kSide, 1, kGrid);
    const std::string x = tick(panel.x_range, i), y = tick(panel.y_range, i);
    write(image, left + at - width_of(x) / 2, top + kSide + 8, x, kFaint);
    write(image, left - 10 - width_of(y), top + kSide - 1 - at - 8, y, kFaint);
  }
}

void draw_panel(Tensor& image, const CurvePanel& panel, int64_t x, int64_t y) {
  const int64_t left = x + kAxis, top = y + 2 * kLineHeight + 6;
  write(image, left, y, panel.title, kInk);
  write(image, left, y + kLineHeight, panel.y, kFaint);
  draw_grid(image, panel, left, top);
  write(image, left + kSide - width_of(panel.x), top + kSide + 8 + kLineHeight, panel.x, kFaint);
  const double first = panel.x_range.first, last = panel.x_range.second;
  const double low = panel.y_range.first, high = panel.y_range.second;
  const auto placed = [&](const std::pair<double, double>& point) {
    return std::pair((point.first - first) / (last - first) * double(kSide - 1),
                     (high - point.second) / (high - low) * double(kSide - 1));
  };
  if (panel.diagonal) draw_line(image, left, top, {placed({first, low}), placed({last, high})}, kFaint, 0.5);
  int64_t line_y = top + kSide + 8 + 2 * kLineHeight + kGap;
  for (size_t i = drawn(panel); i-- > 0;) {  // the first on top
    std::vector<std::pair<double, double>> places;
    for (const auto& point : panel.curves[i].points) places.push_back(placed(point));
    draw_line(image, left, top, places, kKinds[i], 1);
  }
  for (size_t i = 0; i < drawn(panel); ++i, line_y += kLineHeight) {
    const Curve& curve = panel.curves[i];
    fill_rectangle(image, left, line_y, kSwatch, kSwatch, kKinds[i]);
    const int64_t room = kSide - kLegendText - width_of(curve.value) - kGap;
    write(image, left + kLegendText, line_y, shortened(curve.name, room / (kGlyphAdvance * kTextScale)), kInk);
    write(image, left + kSide - width_of(curve.value), line_y, curve.value, kFaint);
  }
  if (panel.curves.size() > kMostCurves) {
    const std::string more = "and " + std::to_string(panel.curves.size() - kMostCurves) + " more, not drawn";
    write(image, left + kLegendText, line_y, more, kFaint);
  }
}

}  // namespace

Tensor draw(const CurveChart& chart) {
  check(chart);
  int64_t lines = 0;
  for (const CurvePanel& panel : chart.panels) lines = std::max(lines, legend_lines(panel));
  const int64_t panel_width = kAxis + kSide + kGap;
  const int64_t head = kMargin + kLineHeight * (chart.remark.empty() ? 1 : 2) + kGap;
  const int64_t width = std::max({int64_t(chart.panels.size()) * panel_width, width_of(chart.title) + 2 * kMargin,
                                  width_of(chart.remark) + 2 * kMargin}) +
                        kMargin;
  const int64_t height = head + 4 * kLineHeight + 14 + kSide + kGap + lines * kLineHeight + kMargin;
  Tensor image({height, width, 3}, DType::u8);
  fill_rectangle(image, 0, 0, width, height, kPaper);
  write(image, kMargin, kMargin, chart.title, kInk);
  write(image, kMargin, kMargin + kLineHeight, chart.remark, kLine);
  for (size_t i = 0; i < chart.panels.size(); ++i) {
    draw_panel(image, chart.panels[i], int64_t(i) * panel_width, head);
  }
  return image;
}

}  // namespace sat::cli
