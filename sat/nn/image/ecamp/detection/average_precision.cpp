// Matching boxes to truth, precision over recall, and their mean.
#include "sat/nn/image/ecamp/detection/average_precision.h"

#include <algorithm>

namespace sat {

namespace {

constexpr size_t kMostFound = 100;
constexpr int kRecalls = 101, kThresholds = 8;

double intersection_over_union(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double width = std::max(0., std::min(a[2], b[2]) - std::max(a[0], b[0]));
  const double height = std::max(0., std::min(a[3], b[3]) - std::max(a[1], b[1]));
  const auto area = [](const std::array<double, 4>& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
  const double both = width * height, either = area(a) + area(b) - both;
  return either > 0 ? both / either : 0;
}

struct Judged {
  double score;
  bool right;
};

/// The surest box first; each takes the free true box that it overlaps most, where that is above the threshold.
void judge(const ImageBoxes& image, double threshold, std::vector<Judged>& all) {
  std::vector<ScoredBox> found = image.found;
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  found.resize(std::min(found.size(), kMostFound));
  std::vector<uint8_t> taken(image.truth.size(), 0);
  for (const ScoredBox& each : found) {
    size_t best = 0;
    double most = 0;
    for (size_t t = 0; t < image.truth.size(); ++t) {
      const double shared = taken[t] ? 0 : intersection_over_union(each.box, image.truth[t]);
      if (shared > most) most = shared, best = t;
    }
    const bool right = most > threshold;
    if (right) taken[best] = 1;
    all.push_back({each.score, right});
  }
}

/// The mean over recalls 0, 0.01 ... 1 of the highest precision at that recall or a higher one.
double average_precision(std::vector<Judged> all, size_t truths) {
  std::stable_sort(all.begin(), all.end(), [](const Judged& a, const Judged& b) { return a.score > b.score; });
  std::vector<double> precision, recall;
  double right = 0;
  for (const Judged& each : all) {
    right += each.right ? 1 : 0;
    precision.push_back(right / double(precision.size() + 1));
    recall.push_back(right / double(truths));
  }
  for (size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  double sum = 0;
  for (int i = 0; i < kRecalls; ++i) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), double(i) / (kRecalls - 1));
    if (at != recall.end()) sum += precision[size_t(at - recall.begin())];
  }
  return sum / kRecalls;
}

}  // namespace

double mean_average_precision(const std::vector<ImageBoxes>& images) {
  size_t truths = 0;
  for (const ImageBoxes& image : images) truths += image.found.empty() ? 0 : image.truth.size();
  if (truths == 0) return -1;
  double sum = 0;
  for (int i = 0; i < kThresholds; ++i) {
    std::vector<Judged> all;
    for (const ImageBoxes& image : images) {
      if (!image.found.empty() && !image.truth.empty()) judge(image, 0.40 + 0.05 * i, all);
    }
    sum += average_precision(std::move(all), truths);
  }
  return sum / kThresholds;
}

}  // namespace sat
