// Scores of masks: against recorded values and the spec's, with empty masks, and the same bits for any threads.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "sat/nn/evaluation/segmentation/mask_scores.h"
#include "sat/nn/evaluation/segmentation/mask_surface.h"
#include "sat/tensor/context.h"
#include "sat/tensor/error.h"
#include "tests/support/golden.h"
#include "tests/support/parity/evaluation/segmentation_scores_parity.h"

using namespace sat;
using doctest::Approx;

namespace {

using Inside = std::function<bool(int64_t h, int64_t w, int64_t d)>;

void fill(BitMasks& masks, int64_t prompt, const Inside& inside) {
  for (int64_t h = 0; h < masks.size[0]; ++h) {
    for (int64_t w = 0; w < masks.size[1]; ++w) {
      for (int64_t d = 0; d < masks.size[2]; ++d) {
        if (inside(h, w, d)) masks.set(prompt, h, w, d);
      }
    }
  }
}

/// Truth and prediction on one grid.
BitMasks pair_of(const std::array<int64_t, 3>& size, const Inside& truth, const Inside& prediction) {
  BitMasks masks(size, 2);
  fill(masks, 0, truth);
  fill(masks, 1, prediction);
  return masks;
}

Inside box(int64_t h0, int64_t h1, int64_t w0, int64_t w1, int64_t d0, int64_t d1) {
  return [=](int64_t h, int64_t w, int64_t d) { return h >= h0 && h < h1 && w >= w0 && w < w1 && d >= d0 && d < d1; };
}

const Inside kNothing = [](int64_t, int64_t, int64_t) { return false; };

Affine spaced(double s0, double s1, double s2) {
  Affine affine;
  affine.m[0][0] = s0;
  affine.m[1][1] = s1;
  affine.m[2][2] = s2;
  return affine;
}

}  // namespace

TEST_CASE("scores of masks agree with those recorded from the published evaluation") {
  for (const test::ParityLine& line : test::compare_segmentation_scores(test::golden_path("sat-metrics"))) {
    CAPTURE(line.quantity);
    CAPTURE(line.error);
    CHECK(line.passed());
  }
}

TEST_CASE("Dice and NSD of shifted boxes are those of the spec's B.12") {
  const Inside truth = box(4, 14, 5, 15, 3, 9);
  struct Row {
    Inside prediction;
    double dice, nsd;
  };
  const Row rows[] = {{truth, 1, 1},
                      {box(5, 15, 5, 15, 3, 9), 0.9, 1},
                      {box(6, 16, 5, 15, 3, 9), 0.8, 0.6616694703},
                      {box(4, 14, 5, 15, 4, 10), 0.8333333333, 0.7807854597},
                      {kNothing, 0, 0}};
  for (const Row& row : rows) {
    const BitMasks masks = pair_of({20, 20, 12}, truth, row.prediction);
    const SatScores scores = score_as_sat(masks, 0, masks, 1);
    CHECK(scores.dice == Approx(row.dice).epsilon(1e-9));
    CHECK(scores.nsd == Approx(row.nsd).epsilon(1e-9));
  }
}

TEST_CASE("two ellipsoids have the spec's scores, areas and numbers of elements") {
  const BitMasks masks = pair_of(
      {32, 32, 16},
      [](int64_t h, int64_t w, int64_t d) {
        return (h - 15) * (h - 15) + (w - 16) * (w - 16) + 9 * (d - 7) * (d - 7) <= 100;
      },
      [](int64_t h, int64_t w, int64_t d) {
        return (h - 16) * (h - 16) + (w - 15) * (w - 15) + 9 * (d - 8) * (d - 8) <= 121;
      });
  CHECK(overlap(masks, 0, masks, 1).truth == 1419);
  CHECK(overlap(masks, 0, masks, 1).prediction == 1887);
  CHECK(overlap(masks, 0, masks, 1).dice() == Approx(0.7513611615).epsilon(1e-9));
  const SurfaceComparison surfaces(masks, 0, masks, 1, {1, 1, 3});
  CHECK(surfaces.nsd(1) == Approx(0.5704182322).epsilon(1e-9));
  CHECK(surfaces.truth().area == Approx(1513.9086574).epsilon(1e-10));
  CHECK(surfaces.prediction().area == Approx(1762.5542704).epsilon(1e-10));
  CHECK(surfaces.truth().areas.size() == 1080);
  CHECK(surfaces.prediction().areas.size() == 1272);
}

TEST_CASE("empty masks get what the rules say") {
  const Inside some = box(1, 3, 1, 3, 1, 3);
  const auto scored = [](const Inside& truth, const Inside& prediction) {
    const BitMasks masks = pair_of({5, 6, 7}, truth, prediction);
    return score_mask(masks, 0, masks, 1, spaced(1, 1, 1), 1);
  };
  const MaskScores both = scored(kNothing, kNothing), false_alarm = scored(kNothing, some),
                   miss = scored(some, kNothing);
  CHECK(both.dice == 1);
  CHECK(both.nsd == 1);
  CHECK(false_alarm.dice == 0);
  CHECK(false_alarm.nsd == 0);
  CHECK(miss.dice == 0);
  CHECK(miss.nsd == 0);
  for (const MaskScores* scores : {&both, &false_alarm, &miss}) {
    CHECK(!scores->hausdorff_95);
    CHECK(!scores->hausdorff);
    CHECK(!scores->truth_to_prediction);
    CHECK(!scores->prediction_to_truth);
  }
  CHECK(!both.relative_volume_error);
  CHECK(!false_alarm.relative_volume_error);
  CHECK(*miss.relative_volume_error == -1);
  CHECK(false_alarm.volume_error_ml() == Approx(0.008));
}

TEST_CASE("volumes come from the affine, and distances from its columns' lengths") {
  const BitMasks masks = pair_of({9, 9, 9}, box(2, 4, 2, 4, 2, 4), box(4, 7, 2, 4, 2, 4));
  Affine turned;  // 2 x 1 x 5 mm, the first two axes turned by a quarter
  turned.m[0] = {0, -1, 0, 10};
  turned.m[1] = {2, 0, 0, -3};
  turned.m[2] = {0, 0, 5, 0};
  const MaskScores scores = score_mask(masks, 0, masks, 1, turned, 1);
  CHECK(scores.truth_ml == Approx(0.08));
  CHECK(scores.prediction_ml == Approx(0.12));
  CHECK(*scores.relative_volume_error == Approx(0.5));
  CHECK(*scores.hausdorff == Approx(6));  // three voxels of 2 mm from the far face to the common one
}

TEST_CASE("masks at the border of the grid have a closed surface") {
  BitMasks masks(std::array<int64_t, 3>{3, 4, 5}, 1);
  fill(masks, 0, [](int64_t, int64_t, int64_t) { return true; });
  const std::vector<SurfaceElement> elements = surface_of(masks, 0);
  CHECK(elements.size() == 4 * 5 * 6 - 2 * 3 * 4);  // all places but those inside
  CHECK(elements.front().h == 0);
  CHECK(elements.back().d == 5);
  const std::array<double, 256> areas = surface_areas({1, 1, 1});
  CHECK(areas[0] == 0);
  CHECK(areas[255] == 0);
  for (size_t code = 1; code < 255; ++code) CHECK(areas[code] > 0);
}

TEST_CASE("codes are read at every place of a word, for lines of awkward lengths") {
  const std::vector<double> values = test::unit("lines", 5 * 3 * 150);
  BitMasks masks(std::array<int64_t, 3>{5, 3, 150}, 1);
  fill(masks, 0, [&](int64_t h, int64_t w, int64_t d) { return values[size_t((h * 3 + w) * 150 + d)] < 0.2; });
  const auto set = [&](int64_t h, int64_t w, int64_t d) {
    return h >= 0 && h < 5 && w >= 0 && w < 3 && d >= 0 && d < 150 && masks.get(0, h, w, d);
  };
  std::vector<SurfaceElement> expected;
  for (int64_t h = 0; h <= 5; ++h) {
    for (int64_t w = 0; w <= 3; ++w) {
      for (int64_t d = 0; d <= 150; ++d) {
        unsigned code = 0;
        for (int corner = 0; corner < 8; ++corner) {
          code = 2 * code + set(h - 1 + (corner >> 2), w - 1 + (corner >> 1 & 1), d - 1 + (corner & 1));
        }
        if (code != 0 && code != 255) expected.push_back({int32_t(h), int32_t(w), int32_t(d), uint8_t(code)});
      }
    }
  }
  const std::vector<SurfaceElement> got = surface_of(masks, 0);
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const SurfaceElement &a = got[i], &b = expected[i];
    CHECK((a.h == b.h && a.w == b.w && a.d == b.d && a.code == b.code));
  }
}

TEST_CASE("scores have the same bits for any number of threads") {
  const std::vector<double> values = test::unit("threads", 2 * 40 * 33 * 29);
  const auto noise = [&](size_t which) {
    return [&values, which](int64_t h, int64_t w, int64_t d) {
      return values[size_t(which) * 40 * 33 * 29 + size_t((h * 33 + w) * 29 + d)] < 0.02;
    };
  };
  const BitMasks masks = pair_of({40, 33, 29}, noise(0), noise(1));
  const auto scored = [&](int threads) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    const UseContext use(context);
    return score_mask(masks, 0, masks, 1, spaced(0.7, 1.3, 2.1), 1);
  };
  const MaskScores one = scored(1), many = scored(5);
  CHECK(one.voxels.both == many.voxels.both);
  CHECK(one.nsd == many.nsd);
  CHECK(*one.hausdorff_95 == *many.hausdorff_95);
  CHECK(*one.truth_to_prediction == *many.truth_to_prediction);
}

TEST_CASE("Dice of all prompts is that of each, and grids must agree") {
  const std::array<int64_t, 3> size{6, 5, 7}, other_size{6, 7, 5};
  BitMasks truth(size, 3), prediction(size, 3), other(other_size, 3);
  fill(truth, 0, box(0, 2, 0, 2, 0, 2));
  fill(prediction, 0, box(0, 2, 0, 2, 1, 3));
  fill(truth, 1, box(0, 1, 0, 1, 0, 1));
  CHECK(dice_scores(truth, prediction) == std::vector<double>{0.5, 0, 1});
  CHECK_THROWS_WITH_AS(dice_scores(truth, other), "a true mask of 6 x 5 x 7 voxels and a predicted one of 6 x 7 x 5",
                       Error);
}
