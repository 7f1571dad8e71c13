// Curves, several panels side by side, with a legend below each: ROC and precision-recall, or what a training logged.
// Knows points and words; what was measured is the caller's.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::cli {

struct Curve {
  std::string name, value;                        // in the legend, to the left and to the right
  std::vector<std::pair<double, double>> points;  // in the ranges, joined by straight lines; none: only in the legend
};

struct CurvePanel {
  std::string title, x, y;  // names of the panel and of its axes
  std::vector<Curve> curves;
  bool diagonal = false;  // a faint line from corner to corner
  std::pair<double, double> x_range{0, 1}, y_range{0, 1};
};

struct CurveChart {
  std::string title, remark;  // a remark is a second line
  std::vector<CurvePanel> panels;
};

/// An RGB image u8 [rows, columns, 3]. Of more than fourteen curves in a panel the first are drawn, and a line says how
/// many are not. Throws Error when there is no panel, a range is empty, or a point lies outside its ranges.
Tensor draw(const CurveChart& chart);

}  // namespace sat::cli
