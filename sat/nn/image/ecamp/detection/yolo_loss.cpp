// Assigning boxes to anchors, and the terms of the loss.
#include "sat/nn/image/ecamp/detection/yolo_loss.h"

#include <algorithm>
#include <cmath>

namespace sat {

namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

/// Of a probability; logarithms do not fall below -100.
double cross_entropy_of(double probability, double target) {
  const auto log_of = [](double p) { return std::max(std::log(p), -100.); };
  return -(target * log_of(probability) + (1 - target) * log_of(1 - probability));
}

double square(double value) { return value * value; }

}  // namespace

std::vector<YoloCell> assign_boxes(const std::vector<std::vector<TrueBox>>& truth, const Anchors& anchors, int64_t size,
                                   int64_t classes, double pixels) {
  SAT_CHECK(size > 0 && classes > 0 && pixels > 0, "assigning boxes: a grid of ", size, " cells, ", classes,
            " classes, ", pixels, " pixels");
  const int64_t places = size * size, count = int64_t(anchors.size()) * places;
  YoloCell nothing;
  nothing.classes.assign(size_t(classes), 0);
  std::vector<YoloCell> cells(truth.size() * size_t(count), nothing);
  const double stride = pixels / double(size);
  for (size_t image = 0; image < truth.size(); ++image) {
    for (const TrueBox& box : truth[image]) {
      SAT_CHECK(box.x >= 0 && box.x < 1 && box.y >= 0 && box.y < 1 && box.width > 0 && box.height > 0 &&
                    box.width <= 1 && box.height <= 1 && box.category >= 0 && box.category < classes,
                "assigning boxes: class ", box.category, " of ", classes, " at ", box.x, ", ", box.y, ", of ",
                box.width, " x ", box.height, "; boxes are relative to their image");
      const double gx = box.x * double(size), gy = box.y * double(size);
      const double gw = box.width * double(size), gh = box.height * double(size);
      const auto column = int64_t(gx), row = int64_t(gy);
      const auto cell = [&](size_t anchor) -> YoloCell& {
        return cells[image * size_t(count) + anchor * size_t(places) + size_t(row * size + column)];
      };
      size_t best = 0;
      double most = -1;
      for (size_t a = 0; a < anchors.size(); ++a) {
        const double aw = anchors[a][0] * pixels / kAnchorFrame / stride;
        const double ah = anchors[a][1] * pixels / kAnchorFrame / stride;
        const double shared = overlap({0, 0, gw, gh}, {0, 0, aw, ah});
        if (shared > 0.5) cell(a).counts_as_empty = false;
        if (shared > most) most = shared, best = a;
      }
      YoloCell& answers = cell(best);
      answers.assigned = true;
      answers.x = gx - double(column);
      answers.y = gy - double(row);
      answers.width = std::log(gw / (anchors[best][0] * pixels / kAnchorFrame / stride) + 1e-16);
      answers.height = std::log(gh / (anchors[best][1] * pixels / kAnchorFrame / stride) + 1e-16);
      answers.classes[size_t(box.category)] = 1;
    }
  }
  return cells;
}

YoloLoss yolo_loss(const Tensor& grid, const std::vector<YoloCell>& cells) {
  SAT_CHECK(grid.shape.rank() == 4 && !cells.empty(), "YOLO's loss: a grid of shape ", grid.shape);
  const int64_t places = grid.shape[1] * grid.shape[2], anchors = int64_t(kEcampAnchors[0].size());
  const auto classes = int64_t(cells[0].classes.size());
  SAT_CHECK(grid.shape[3] == anchors * (5 + classes) && int64_t(cells.size()) == grid.shape[0] * anchors * places,
            "YOLO's loss: a grid of shape ", grid.shape, " for ", cells.size(), " cells of ", classes, " classes");
  const Tensor host = to_host(grid);
  const float* values = host.data<float>();
  const auto count = double(cells.size());
  YoloLoss loss;
  for (size_t i = 0; i < cells.size(); ++i) {
    const YoloCell& cell = cells[i];
    const int64_t image = int64_t(i) / (anchors * places), anchor = int64_t(i) / places % anchors;
    const float* z = values + ((image * places + int64_t(i) % places) * anchors + anchor) * (5 + classes);
    if (cell.assigned) {
      loss.x += cross_entropy_of(sigmoid(double(z[0])), cell.x) / count;
      loss.y += cross_entropy_of(sigmoid(double(z[1])), cell.y) / count;
      loss.width += square(double(z[2]) - cell.width) / count;
      loss.height += square(double(z[3]) - cell.height) / count;
      loss.objectness += cross_entropy_of(sigmoid(double(z[4])), 1) / count;
      for (int64_t k = 0; k < classes; ++k) {
        const double score = sigmoid(double(z[5 + k]));
        loss.classes += cross_entropy_of(score, double(cell.classes[size_t(k)])) / (count * double(classes));
      }
    }
    if (cell.counts_as_empty) loss.objectness += 0.5 * cross_entropy_of(sigmoid(double(z[4])), 0) / count;
  }
  return loss;
}

}  // namespace sat
