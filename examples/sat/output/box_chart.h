// Box plots over the unit interval, a row a name, several panels side by side: how scores are spread.
// Knows numbers and words; what was scored is the caller's.
#pragma once

#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::cli {

struct BoxRow {
  std::string name, detail;                 // to the left
  std::vector<std::vector<double>> values;  // of each panel, within [0, 1] and in any order; none: nothing is drawn
};

struct BoxChart {
  std::string title, remark;        // a remark is a second line
  std::vector<std::string> panels;  // their names
  std::vector<BoxRow> rows;
};

/// An RGB image u8 [rows, columns, 3]. A box reaches from the first to the third quartile with a line at the median;
/// whiskers to the furthest values within one and a half boxes; values beyond are dots, as is a single value. Of more
/// than sixty rows the first are drawn, and a line says how many are not. Throws Error when there is no row or a value
/// lies outside.
Tensor draw(const BoxChart& chart);

}  // namespace sat::cli
