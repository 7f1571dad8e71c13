// Lines of the log, smoothed to what a picture can show.
#include "examples/sat/train/training_curves.h"

#include <algorithm>
#include <cmath>

#include "examples/sat/output/curve_chart.h"
#include "sat/io/words/text.h"

namespace sat::cli {

namespace {

constexpr int64_t kMostPoints = 200;  // of a curve

/// The end of an axis from 0: one to two digits, not below the largest value.
double axis_end(double largest) {
  if (!(largest > 0)) return 1;
  const double unit = std::pow(10, std::floor(std::log10(largest)));
  for (const double times : {1.0, 1.5, 2.0, 3.0, 5.0, 10.0}) {
    if (largest <= times * unit) return times * unit;
  }
  return 10 * unit;
}

CurvePanel panel_of(std::string title, std::vector<Curve> curves, int64_t last, double high) {
  CurvePanel panel{std::move(title), "step", "", std::move(curves)};
  panel.x_range = {0, double(std::max<int64_t>(last, 1))};
  for (const Curve& curve : panel.curves) {
    for (const auto& [x, y] : curve.points) high = std::max(high, y);
  }
  panel.y_range = {0, axis_end(high)};
  return panel;
}

Curve curve_of(const std::string& name, std::vector<std::pair<double, double>> points) {
  const std::string value = points.empty() ? "" : significant(points.back().second, 3);
  return {name, value, std::move(points)};
}

}  // namespace

void TrainingCurves::add(const Json& line) {
  const int64_t step = line["step"].integer();
  last_ = std::max(last_, step);
  if (const Json* validation = line.find("validation")) {
    scores_.push_back({step, (*validation)["score"].number()});
    const Json* dice = validation->find("dice");
    if (!dice) return;
    for (const auto& [name, value] : dice->members()) {
      auto known = std::find_if(structures_.begin(), structures_.end(),
                                [&name = name](const auto& one) { return one.first == name; });
      if (known == structures_.end()) known = structures_.insert(known, {name, {}});
      known->second.push_back({step, value.number()});
    }
    return;
  }
  losses_.push_back({step, line["loss"].number()});
  rates_.push_back({step, line["rate"].number()});
  for (const Json& batch : line["batches"].items()) {
    const Json* scales = batch.find("scales");
    if (!scales) continue;
    scales_.resize(std::max(scales_.size(), scales->size()));
    for (size_t s = 0; s < scales->size(); ++s) scales_[s].push_back({step, (*scales)[s].number()});
  }
}

std::vector<std::pair<double, double>> TrainingCurves::points_of(const Series& series) const {
  std::vector<std::pair<double, double>> points;
  const auto count = int64_t(series.size()), most = std::min(count, kMostPoints);
  for (int64_t i = 0; i < most; ++i) {
    const int64_t first = i * count / most, end = (i + 1) * count / most;
    double steps = 0, values = 0;
    for (int64_t k = first; k < end; ++k) {
      steps += double(series[size_t(k)].step);
      values += series[size_t(k)].value;
    }
    points.emplace_back(steps / double(end - first), std::max(values / double(end - first), 0.0));
  }
  return points;
}

Tensor TrainingCurves::draw(const std::string& title) const {
  std::vector<Curve> losses{curve_of("loss", points_of(losses_))};
  for (size_t s = 0; s < scales_.size() && scales_.size() > 1; ++s) {
    const std::string name = s == 0 ? "full resolution" : "1/" + std::to_string(1 << s);
    losses.push_back(curve_of("part of it at " + name, points_of(scales_[s])));
  }
  CurveChart chart{title, "", {panel_of("Loss", std::move(losses), last_, 0)}};
  if (!scores_.empty()) {
    std::vector<Curve> scores{curve_of("mean", points_of(scores_))};
    for (const auto& [name, series] : structures_) scores.push_back(curve_of(name, points_of(series)));
    chart.panels.push_back(panel_of("Validation", std::move(scores), last_, 1));
  }
  chart.panels.push_back(panel_of("Learning rate", {curve_of("rate", points_of(rates_))}, last_, 0));
  return sat::cli::draw(chart);
}

}  // namespace sat::cli
