// Quartiles as numpy.percentile has them, drawn as rectangles.
#include "examples/sat/output/box_chart.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/output/chart_style.h"

namespace sat::cli {

namespace {

using namespace chart;

constexpr int64_t kPanelWidth = 460, kBoxHeight = 14, kLongestName = 44, kLongestDetail = 12;
constexpr size_t kMostRows = 60;

void check(const BoxChart& chart) {
  SAT_CHECK(!chart.rows.empty() && !chart.panels.empty(), "a chart of ", chart.rows.size(), " rows and ",
            chart.panels.size(), " panels");
  for (const BoxRow& row : chart.rows) {
    SAT_CHECK(row.values.size() == chart.panels.size(), row.name, " has ", row.values.size(), " lists of values for ",
              chart.panels.size(), " panels");
    for (const auto& values : row.values) {
      for (const double value : values) {
        SAT_CHECK(value >= 0 && value <= 1, row.name, " has the value ", value, ", outside of 0 to 1");
      }
    }
  }
}

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * double(sorted.size() - 1);
  const auto below = size_t(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - double(below)) * (sorted[above] - sorted[below]);
}

/// Where everything stands.
struct Layout {
  int64_t name_x = kMargin, detail_end = 0, plot_x = 0, plot_y = 0, axis_y = 0, width = 0, height = 0;
  size_t drawn = 0;

  int64_t panel_x(size_t panel) const { return plot_x + int64_t(panel) * (kPanelWidth + 2 * kGap); }
  int64_t row_y(size_t row) const { return plot_y + int64_t(row) * kLineHeight + 8; }
};

Layout lay_out(const BoxChart& chart) {
  Layout at;
  at.drawn = std::min(chart.rows.size(), kMostRows);
  int64_t name = 0, detail = 0;
  for (size_t i = 0; i < at.drawn; ++i) {
    name = std::max(name, width_of(shortened(chart.rows[i].name, kLongestName)));
    detail = std::max(detail, width_of(shortened(chart.rows[i].detail, kLongestDetail)));
  }
  at.detail_end = at.name_x + name + kGap + detail;
  at.plot_x = at.detail_end + kGap;
  at.plot_y = kMargin + (chart.remark.empty() ? 2 : 3) * kLineHeight + kGap;
  at.axis_y = at.row_y(at.drawn) + 4;
  at.width = std::max({at.panel_x(chart.panels.size()) - kGap, width_of(chart.title) + kMargin,
                       width_of(chart.remark) + kMargin}) +
             kMargin;
  at.height = at.axis_y + (at.drawn < chart.rows.size() ? 2 : 1) * kLineHeight + kMargin;
  return at;
}

void draw_panel(Tensor& image, const std::string& name, const Layout& at, int64_t x) {
  write(image, x, at.plot_y - kLineHeight, name, kFaint);
  for (int64_t i = 0; i <= 5; ++i) {
    const int64_t line = x + std::llround(double(i) * double(kPanelWidth) / 5);
    fill_rectangle(image, line, at.plot_y, 1, at.axis_y - at.plot_y, kGrid);
    const std::string label = i == 0 ? "0" : i == 5 ? "1" : "0." + std::to_string(2 * i);
    write(image, line - width_of(label) / 2, at.axis_y + 6, label, kFaint);
  }
}

void draw_dot(Tensor& image, int64_t x, int64_t y, const Colour& colour) {
  for (int64_t dy = -3; dy <= 3; ++dy) {
    for (int64_t dx = -3; dx <= 3; ++dx) {
      blend_pixel(image, x + dx, y + dy, colour, std::clamp(3.3 - std::hypot(double(dx), double(dy)), 0.0, 1.0));
    }
  }
}

void draw_box(Tensor& image, std::vector<double> values, int64_t left, int64_t y, const Colour& colour) {
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  const auto x_of = [&](double value) { return left + std::llround(value * double(kPanelWidth)); };
  const int64_t middle = y + kBoxHeight / 2;
  const double low = quantile(values, 0.25), high = quantile(values, 0.75), reach = 1.5 * (high - low);
  const auto first = std::lower_bound(values.begin(), values.end(), low - reach);
  const auto last = std::upper_bound(values.begin(), values.end(), high + reach);
  for (auto value = values.begin(); value != values.end(); ++value) {
    if (value < first || value >= last || values.size() == 1) draw_dot(image, x_of(*value), middle, colour);
  }
  if (values.size() == 1) return;
  const int64_t from = x_of(*first), to = x_of(*(last - 1)), box = x_of(low), box_end = x_of(high);
  fill_rectangle(image, from, middle, to - from + 1, 1, colour);
  fill_rectangle(image, from, middle - 3, 1, 7, colour);
  fill_rectangle(image, to, middle - 3, 1, 7, colour);
  fill_rectangle(image, box, y, box_end - box + 1, kBoxHeight, colour);
  fill_rectangle(image, x_of(quantile(values, 0.5)) - 1, y - 1, 3, kBoxHeight + 2, kInk);
}

}  // namespace

Tensor draw(const BoxChart& chart) {
  check(chart);
  const Layout at = lay_out(chart);
  Tensor image({at.height, at.width, 3}, DType::u8);
  fill_rectangle(image, 0, 0, at.width, at.height, kPaper);
  write(image, at.name_x, kMargin, chart.title, kInk);
  write(image, at.name_x, kMargin + kLineHeight, chart.remark, kFaint);
  for (size_t panel = 0; panel < chart.panels.size(); ++panel) {
    draw_panel(image, chart.panels[panel], at, at.panel_x(panel));
  }
  for (size_t i = 0; i < at.drawn; ++i) {
    const BoxRow& row = chart.rows[i];
    write(image, at.name_x, at.row_y(i), shortened(row.name, kLongestName), kInk);
    const std::string detail = shortened(row.detail, kLongestDetail);
    write(image, at.detail_end - width_of(detail), at.row_y(i), detail, kFaint);
    for (size_t panel = 0; panel < chart.panels.size(); ++panel) {
      draw_box(image, row.values[panel], at.panel_x(panel), at.row_y(i), kKinds[panel % std::size(kKinds)]);
    }
  }
  if (at.drawn < chart.rows.size()) {
    write(image, at.name_x, at.axis_y + kLineHeight + 6,
          "and " + std::to_string(chart.rows.size() - at.drawn) + " more, not drawn", kFaint);
  }
  return image;
}

}  // namespace sat::cli
