// Claims: boxes, what suppression keeps of them, assignment, the loss and average precision have the recorded values;
// odd boxes are handled.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/nn/image/ecamp/detection/average_precision.h"
#include "sat/nn/image/ecamp/detection/yolo_loss.h"
#include "tests/support/golden.h"
#include "tests/support/parity/ecamp/ecamp_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

Candidate at(double x, double y, double side, double objectness, std::vector<double> scores = {0.5}) {
  return {x, y, side, side, objectness, std::move(scores)};
}

}  // namespace

TEST_CASE("decoded and kept boxes, assignment, losses and average precision are as recorded") {
  const std::vector<ParityLine> lines = compare_ecamp_boxes(golden_path("ecamp-boxes"));
  CHECK(lines.size() == 38);
  for (const ParityLine& line : lines) {
    CAPTURE(line.quantity);
    CHECK(line.error <= line.limit);
  }
}

TEST_CASE("suppression goes class by class, the surest first, equal ones in their order") {
  const std::vector<Detection> kept =
      suppress({at(50, 50, 20, 0.6), at(51, 50, 20, 0.9), at(50, 50, 20, 0.7, {0.1, 0.8}), at(150, 50, 20, 0.9),
                at(200, 50, 20, 0.4)},
               0.5, 0.5);
  REQUIRE(kept.size() == 3);
  CHECK(kept[0].left == 41);
  CHECK(kept[0].category == 0);
  CHECK(kept[1].left == 140);
  CHECK(kept[2].category == 1);
  CHECK(kept[2].score == 0.8);
  CHECK(suppress({}, 0.5, 0.5).empty());
}

TEST_CASE("overlap counts one pixel more a side") {
  CHECK(overlap({0, 0, 9, 9}, {0, 0, 9, 9}) == doctest::Approx(1));
  CHECK(overlap({0, 0, 9, 9}, {5, 0, 14, 9}) == doctest::Approx(50. / 150));
  CHECK(overlap({0, 0, 9, 9}, {10, 0, 19, 9}) == 0);
}

TEST_CASE("numbers that are no boxes give none, and no crash") {
  Tensor grid = full({1, 2, 2, 18}, 100);
  for (int64_t i = 0; i < grid.numel(); ++i) {
    if (i % 6 == 4 && i >= 6) grid.data<float>()[i] = NAN;
  }
  const std::vector<std::vector<Candidate>> images = decode_boxes(grid, kEcampAnchors[0], 224);
  REQUIRE(images[0].size() == 12);
  CHECK(suppress(images[0], 0.5, 0.5).size() == 1);
  CHECK_THROWS_WITH_AS(decode_boxes(zeros({1, 2, 2, 15}), kEcampAnchors[0], 224),
                       doctest::Contains("3 * (5 + classes)"), Error);
}

TEST_CASE("several classes are decoded and counted in the loss") {
  const Tensor grid = field("grid", {1, 2, 2, 3 * 7}, 1);
  CHECK(decode_boxes(grid, kEcampAnchors[0], 64)[0][0].scores.size() == 2);
  const std::vector<YoloCell> cells = assign_boxes({{{1, 0.6, 0.3, 0.5, 0.5}}}, kEcampAnchors[0], 2, 2, 64);
  const YoloLoss loss = yolo_loss(grid, cells);
  for (size_t i = 0; i < cells.size(); ++i) {
    if (!cells[i].assigned) continue;
    CHECK(i % 4 == 1);  // row 0, column 1
    CHECK(cells[i].classes == std::vector<uint8_t>{0, 1});
    const float* z = grid.data<float>() + (1 * 3 + int64_t(i) / 4) * 7;
    const auto p = [&](int64_t k) { return 1 / (1 + std::exp(-double(z[k]))); };
    CHECK(loss.classes == doctest::Approx(-(std::log(1 - p(5)) + std::log(p(6))) / 24));
  }
}

TEST_CASE("boxes outside of their image and of classes that are not there are refused") {
  for (const TrueBox& box : {TrueBox{0, 1, 0.5, 0.1, 0.1}, TrueBox{0, 0.5, -0.1, 0.1, 0.1}, TrueBox{1, 0.5, 0.5, 1, 1},
                             TrueBox{0, 0.5, 0.5, 0, 0.1}, TrueBox{0, 0.5, NAN, 0.1, 0.1}}) {
    CHECK_THROWS_WITH_AS(assign_boxes({{box}}, kEcampAnchors[0], 7, 1, 224), doctest::Contains("assigning boxes"),
                         Error);
  }
  CHECK_THROWS_AS(yolo_loss(zeros({1, 7, 7, 18}), assign_boxes({{}}, kEcampAnchors[0], 14, 1, 224)), Error);
}

TEST_CASE(
    "average precision leaves out images without truth or without boxes, and counts wrong boxes before right ones") {
  const std::array<double, 4> box{10, 10, 50, 50}, elsewhere{100, 100, 120, 120};
  CHECK(mean_average_precision({{{{box, 0.9}}, {box}}}) == doctest::Approx(1));
  CHECK(mean_average_precision({{{{box, 0.9}, {elsewhere, 0.95}}, {box}}}) == doctest::Approx(0.5));
  CHECK(mean_average_precision({{{{box, 0.9}}, {box}}, {{{elsewhere, 0.99}}, {}}, {{}, {box}}}) == doctest::Approx(1));
  CHECK(mean_average_precision({{{}, {box}}}) == -1);
  CHECK(mean_average_precision({}) == -1);
}
