// Decoding, overlap with one pixel more, and greedy suppression.
#include "sat/nn/image/ecamp/detection/boxes.h"

#include <algorithm>
#include <cmath>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

std::array<double, 4> corners(const Detection& box) { return {box.left, box.top, box.right, box.bottom}; }

Detection detection_of(const Candidate& candidate) {
  const auto best = std::max_element(candidate.scores.begin(), candidate.scores.end());
  Detection found;
  found.left = candidate.x - candidate.width / 2;
  found.top = candidate.y - candidate.height / 2;
  found.right = candidate.x + candidate.width / 2;
  found.bottom = candidate.y + candidate.height / 2;
  found.objectness = candidate.objectness;
  found.score = *best;
  found.category = best - candidate.scores.begin();
  return found;
}

}  // namespace

std::vector<std::vector<Candidate>> decode_boxes(const Tensor& grid, const Anchors& anchors, double pixels) {
  SAT_CHECK(grid.shape.rank() == 4 && grid.shape[3] % int64_t(anchors.size()) == 0 &&
                grid.shape[3] / int64_t(anchors.size()) > 5,
            "decoding boxes: a grid of shape ", grid.shape, ", needs [B, rows, columns, ", anchors.size(),
            " * (5 + classes)]");
  const int64_t rows = grid.shape[1], columns = grid.shape[2], each = grid.shape[3] / int64_t(anchors.size());
  const int64_t places = rows * columns, count = int64_t(anchors.size()) * places;
  const double stride = pixels / double(columns);
  const Tensor host = to_host(grid);
  const float* values = host.address<float>();
  Candidate nowhere;
  nowhere.scores.assign(size_t(each - 5), 0);
  std::vector<std::vector<Candidate>> images(size_t(grid.shape[0]), std::vector<Candidate>(size_t(count), nowhere));
  parallel_for(grid.shape[0], 1, [&](int64_t image, int64_t) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t anchor = i / places, place = i % places;
      const float* z = values + ((image * places + place) * int64_t(anchors.size()) + anchor) * each;
      Candidate& box = images[size_t(image)][size_t(i)];
      box.x = (sigmoid(double(z[0])) + double(place % columns)) * stride;
      box.y = (sigmoid(double(z[1])) + double(place / columns)) * stride;
      box.width = std::exp(double(z[2])) * anchors[size_t(anchor)][0] * pixels / kAnchorFrame;
      box.height = std::exp(double(z[3])) * anchors[size_t(anchor)][1] * pixels / kAnchorFrame;
      box.objectness = sigmoid(double(z[4]));
      for (int64_t k = 5; k < each; ++k) box.scores[size_t(k - 5)] = sigmoid(double(z[k]));
    }
  });
  return images;
}

std::vector<std::vector<Candidate>> decode_boxes(const std::array<Tensor, 3>& grids, double pixels) {
  std::vector<std::vector<Candidate>> images(size_t(grids[0].shape[0]));
  for (size_t scale = 0; scale < grids.size(); ++scale) {
    const std::vector<std::vector<Candidate>> found = decode_boxes(grids[scale], kEcampAnchors[scale], pixels);
    SAT_CHECK(found.size() == images.size(), "decoding boxes: grids of ", images.size(), " and of ", found.size(),
              " images");
    for (size_t image = 0; image < found.size(); ++image) {
      images[image].insert(images[image].end(), found[image].begin(), found[image].end());
    }
  }
  return images;
}

double overlap(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const auto area = [](const std::array<double, 4>& box) { return (box[2] - box[0] + 1) * (box[3] - box[1] + 1); };
  const double width = std::max(0., std::min(a[2], b[2]) - std::max(a[0], b[0]) + 1);
  const double height = std::max(0., std::min(a[3], b[3]) - std::max(a[1], b[1]) + 1);
  const double both = width * height;
  return both / (area(a) + area(b) - both + 1e-16);
}

std::vector<Detection> suppress(const std::vector<Candidate>& candidates, double confidence, double most_overlap) {
  std::vector<Detection> sure, kept;
  for (const Candidate& candidate : candidates) {
    if (candidate.objectness >= confidence) sure.push_back(detection_of(candidate));
  }
  std::stable_sort(sure.begin(), sure.end(), [](const Detection& a, const Detection& b) {
    return a.category != b.category ? a.category < b.category : a.objectness > b.objectness;
  });
  for (const Detection& box : sure) {
    const bool shown = std::any_of(kept.begin(), kept.end(), [&](const Detection& before) {
      return before.category == box.category && !(overlap(corners(before), corners(box)) < most_overlap);
    });
    if (!shown) kept.push_back(box);
  }
  return kept;
}

}  // namespace sat
