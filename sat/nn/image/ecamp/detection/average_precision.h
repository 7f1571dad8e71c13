// Private. COCO's mean average precision of one class of boxes, over IoU thresholds from 0.40 to 0.75, as ECAMP reports
// it (ecamp.md section 12).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sat {

/// Corners: left, top, right, bottom.
struct ScoredBox {
  std::array<double, 4> box{};
  double score = 0;
};

struct ImageBoxes {
  std::vector<ScoredBox> found;
  std::vector<std::array<double, 4>> truth;
};

/// The mean of the average precision at 0.40, 0.45 ... 0.75, interpolated at 101 recalls; at most the 100 surest boxes
/// of an image count. -1 where no image counts.
/// QUIRK: an image where nothing was found or nothing is there is left out, so neither what was missed there nor what
/// was found in vain is counted. Overlaps count when above the threshold, by sides without the extra pixel.
double mean_average_precision(const std::vector<ImageBoxes>& images);

}  // namespace sat
