// Stars of names, as curves.
#include "examples/sat/train/knowledge/name_chart.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "examples/sat/output/curve_chart.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr size_t kMostGroups = 12;
constexpr double kMargin = 0.02, kMark = 0.009;  // of the panel's side

using Point = std::pair<double, double>;

/// A mark of so many corners around a point, from and to the point.
void add_mark(std::vector<Point>& points, const Point& at, int corners) {
  for (int i = 0; i <= corners; ++i) {
    const double angle = 2 * std::numbers::pi * i / corners;
    points.emplace_back(at.first + kMark * std::cos(angle), at.second + kMark * std::sin(angle));
  }
  points.push_back(at);
}

CurvePanel panel_of(const std::string& title, const std::vector<NameGroup>& groups, const Tensor& rows) {
  std::vector<Point> places = principal_plane(rows);
  for (auto& [x, y] : places) {
    x = kMargin + (1 - 2 * kMargin) * x;
    y = kMargin + (1 - 2 * kMargin) * y;
  }
  const NameSimilarity similarity = similarity_of(groups, rows);
  CurvePanel panel;
  panel.title = title;
  panel.x = "first principal component";
  panel.y = "second principal component";
  size_t first = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const size_t known = 1 + groups[g].learnt.size(), all = known + groups[g].held_out.size();
    Point middle{0, 0};
    for (size_t i = first; i < first + known; ++i) {
      middle.first += places[i].first / double(known);
      middle.second += places[i].second / double(known);
    }
    Curve star{groups[g].name, fixed(similarity.by_group[g], 2), {middle}};
    for (size_t i = 0; i < all; ++i) {
      star.points.push_back(places[first + i]);
      add_mark(star.points, places[first + i], i < known ? 12 : 4);
      star.points.push_back(middle);
    }
    panel.curves.push_back(std::move(star));
    first += all;
  }
  return panel;
}

std::string words_of(const char* when, const std::vector<NameGroup>& groups, const Tensor& rows) {
  const NameSimilarity all = similarity_of(groups, rows);
  return std::string(when) + ": " + fixed(all.learnt, 2) + " within, " + fixed(all.held_out, 2) + " held out, " +
         fixed(all.others, 2) + " between";
}

}  // namespace

Tensor draw_names(const std::vector<NameGroup>& groups, const Tensor& before, const Tensor& after) {
  const std::vector<NameGroup> some(groups.begin(), groups.begin() + int64_t(std::min(groups.size(), kMostGroups)));
  const auto names = int64_t(names_of(some).size());
  CurveChart chart;
  chart.title = "Names of " + std::to_string(groups.size()) + " structures: mean cosines " +
                words_of("before", groups, before) + "; " + words_of("after", groups, after);
  chart.remark = "A star a structure: circles are names that training saw, diamonds are names that it did not";
  chart.panels.push_back(panel_of("before", some, before.slice(0, names)));
  chart.panels.push_back(panel_of("after", some, after.slice(0, names)));
  return draw(chart);
}

}  // namespace sat::cli
