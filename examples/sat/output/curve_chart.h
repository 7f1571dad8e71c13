// Curves over the unit square, several panels side by side, with a legend below each: ROC and precision-recall.
// Knows points and words; what was measured is the caller's.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::cli {

struct Curve {
  std::string name, value;                        // in the legend, to the left and to the right
  std::vector<std::pair<double, double>> points;  // within [0, 1], joined by straight lines; none: only in the legend
};

struct CurvePanel {
  std::string title, x, y;  // names of the panel and of its axes
  std::vector<Curve> curves;
  bool diagonal = false;  // a faint line from (0, 0) to (1, 1)
};

struct CurveChart {
  std::string title, remark;  // a remark is a second line
  std::vector<CurvePanel> panels;
};

/// An RGB image u8 [rows, columns, 3]. Of more than fourteen curves in a panel the first are drawn, and a line says how
/// many are not. Throws Error when there is no panel, or a point lies outside the square.
Tensor draw(const CurveChart& chart);

}  // namespace sat::cli
