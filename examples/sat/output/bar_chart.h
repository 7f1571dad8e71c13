// Horizontal bars with names and values, against a line at 100 %: a picture that stands alone in a document.
// Knows shares and words; what was measured is the caller's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat::cli {

struct Bar {
  std::string name, detail;    // to the left; a name equal to the bar's above is not written again
  std::string percent, value;  // to the right
  double share = 0;            // 1 reaches the line; may be more
  size_t kind = 0;             // which entry of the legend gives the colour
};

struct BarChart {
  std::string title, line;          // `line` names the line at 100 %
  std::vector<std::string> legend;  // at most three kinds; those without a bar are not shown
  std::vector<Bar> bars;
};

/// An RGB image u8 [rows, columns, 3], as large as the words need. Throws Error when there is no bar, a share is
/// negative or not finite, or a kind is not in the legend.
Tensor draw(const BarChart& chart);

}  // namespace sat::cli
