// Names to the left, values to the right, so that no bar, whatever its length, runs into words.
#include "examples/sat/output/bar_chart.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/output/chart_style.h"

namespace sat::cli {

namespace {

using namespace chart;

constexpr int64_t kBarHeight = 18, kGroupGap = 10, kPlotWidth = 560, kLongestName = 64, kLongestDetail = 24;
constexpr size_t kMostKinds = 4;

/// The step between grid lines: a round share with at most six lines.
double grid_step(double largest) {
  for (double scale = 0.01;; scale *= 10) {
    for (double step : {1.0, 2.0, 2.5, 5.0}) {
      if (largest <= 6 * step * scale) return step * scale;
    }
  }
}

void check(const BarChart& chart) {
  SAT_CHECK(!chart.bars.empty(), "a chart without bars");
  SAT_CHECK(chart.legend.size() <= kMostKinds, "a chart of ", chart.legend.size(), " kinds, at most ", kMostKinds);
  for (const Bar& bar : chart.bars) {
    SAT_CHECK(std::isfinite(bar.share) && bar.share >= 0, "bar ", bar.name, " has a share of ", bar.share);
    SAT_CHECK(bar.kind < chart.legend.size(), "bar ", bar.name, " is of kind ", bar.kind, " of ", chart.legend.size());
  }
}

/// Where everything stands.
struct Layout {
  int64_t name_x = kMargin, detail_x = 0, plot_x = 0, percent_end = 0, value_end = 0, width = 0;
  int64_t title_y = kMargin, legend_y = 0, line_y = 0, plot_y = 0, axis_y = 0, height = 0;
  std::vector<int64_t> bar_y;
  double step = 0, largest = 0;  // of the axis

  int64_t x_of(double share) const { return plot_x + std::llround(double(kPlotWidth) * share / largest); }
};

bool has_bar(const BarChart& chart, size_t kind) {
  return std::any_of(chart.bars.begin(), chart.bars.end(), [&](const Bar& bar) { return bar.kind == kind; });
}

int64_t legend_width(const std::string& entry) { return kLegendText + width_of(entry) + 2 * kGap; }

bool starts_group(const BarChart& chart, size_t bar) {
  return bar == 0 || chart.bars[bar].name != chart.bars[bar - 1].name;
}

Layout lay_out(const BarChart& chart) {
  Layout at;
  int64_t name = 0, detail = 0, percent = 0, value = 0, legend = 0;
  at.largest = 1;
  for (const Bar& bar : chart.bars) {
    name = std::max(name, width_of(shortened(bar.name, kLongestName)));
    detail = std::max(detail, width_of(shortened(bar.detail, kLongestDetail)));
    percent = std::max(percent, width_of(bar.percent));
    value = std::max(value, width_of(bar.value));
    at.largest = std::max(at.largest, bar.share);
  }
  at.step = grid_step(at.largest);
  at.largest = at.step * std::ceil(at.largest / at.step - 1e-9);
  for (size_t kind = 0; kind < chart.legend.size(); ++kind) {
    legend += has_bar(chart, kind) ? legend_width(chart.legend[kind]) : 0;
  }

  at.detail_x = at.name_x + name + kGap;
  at.plot_x = at.detail_x + detail + kGap;
  at.percent_end = at.plot_x + kPlotWidth + kGap + percent;
  at.value_end = at.percent_end + kGap + value;
  at.width = std::max({at.value_end, at.name_x + legend, at.name_x + width_of(chart.title)}) + kMargin;
  at.legend_y = at.title_y + kLineHeight + 8;
  at.line_y = at.legend_y + kLineHeight + 12;
  at.plot_y = at.line_y + kLineHeight;
  int64_t y = at.plot_y;
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    y += starts_group(chart, i) ? kGroupGap : 0;
    at.bar_y.push_back(y);
    y += kLineHeight;
  }
  at.axis_y = y + kGroupGap;
  at.height = at.axis_y + kLineHeight + kMargin;
  return at;
}

void draw_legend(Tensor& image, const BarChart& chart, const Layout& at) {
  int64_t x = at.name_x;
  for (size_t kind = 0; kind < chart.legend.size(); ++kind) {
    if (!has_bar(chart, kind)) continue;
    fill_rectangle(image, x, at.legend_y, kSwatch, kSwatch, kKinds[kind]);
    write(image, x + kLegendText, at.legend_y, chart.legend[kind], kFaint);
    x += legend_width(chart.legend[kind]);
  }
}

void draw_axis(Tensor& image, const Layout& at) {
  int64_t free_from = 0;  // where the label to the left ends
  for (int64_t i = 0; double(i) * at.step <= at.largest * (1 + 1e-9); ++i) {
    const double share = double(i) * at.step;
    const int64_t x = at.x_of(share);
    fill_rectangle(image, x, at.plot_y, 1, at.axis_y - at.plot_y, kGrid);
    const std::string label = std::to_string(std::llround(100 * share)) + " %";
    const int64_t left = x - width_of(label) / 2;
    if (left < free_from) continue;
    write(image, left, at.axis_y + 6, label, kFaint);
    free_from = left + width_of(label) + kGap / 2;
  }
}

void draw_roof(Tensor& image, const BarChart& chart, const Layout& at) {
  const int64_t x = at.x_of(1);
  fill_rectangle(image, x - 1, at.plot_y - 4, 2, at.axis_y - at.plot_y + 4, kLine);
  write(image, x - width_of(chart.line) / 2, at.line_y - 4, chart.line, kLine);
}

}  // namespace

Tensor draw(const BarChart& chart) {
  check(chart);
  const Layout at = lay_out(chart);
  Tensor image({at.height, at.width, 3}, DType::u8);
  fill_rectangle(image, 0, 0, at.width, at.height, kPaper);
  write(image, at.name_x, at.title_y, chart.title, kInk);
  draw_legend(image, chart, at);
  draw_axis(image, at);
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const Bar& bar = chart.bars[i];
    if (starts_group(chart, i)) write(image, at.name_x, at.bar_y[i], shortened(bar.name, kLongestName), kInk);
    write(image, at.detail_x, at.bar_y[i], shortened(bar.detail, kLongestDetail), kFaint);
    const int64_t length = std::max<int64_t>(at.x_of(bar.share) - at.plot_x, 1);
    fill_rectangle(image, at.plot_x, at.bar_y[i] - 2, length, kBarHeight, kKinds[bar.kind]);
    write(image, at.percent_end - width_of(bar.percent), at.bar_y[i], bar.percent, kInk);
    write(image, at.value_end - width_of(bar.value), at.bar_y[i], bar.value, kFaint);
  }
  draw_roof(image, chart, at);
  return image;
}

}  // namespace sat::cli
