// What a mask measures: the claims of sat/io/masks/statistics.h, on numbers that can be checked by hand.
#include "sat/io/masks/statistics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/tensor/context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

/// 4 x 5 x 6 voxels of 2 x 3 x 4 mm, the first axis mirrored; intensities are the voxel's number.
Volume numbered_scan() {
  Volume scan;
  scan.geometry.size = {4, 5, 6};
  scan.geometry.voxel_to_world_mm.m = {{{-2, 0, 0, 10}, {0, 3, 0, 20}, {0, 0, 4, 30}, {0, 0, 0, 1}}};
  scan.voxels = Tensor({4, 5, 6});
  for (int64_t v = 0; v < 120; ++v) scan.voxels.data<float>()[v] = float(v);
  return scan;
}

}  // namespace

TEST_CASE("volume, intensities, centroid and box of a small mask") {
  const Volume scan = numbered_scan();
  BitMasks masks({4, 5, 6}, 2);
  masks.set(1, 1, 2, 3);  // number 45
  masks.set(1, 2, 2, 3);  // number 75
  const MaskStatistics statistics = measure_mask(masks, 1, scan);
  CHECK(statistics.voxels == 2);
  CHECK(statistics.volume_mm3 == doctest::Approx(48));
  CHECK(statistics.mean == doctest::Approx(60));
  CHECK(statistics.deviation == doctest::Approx(15));
  CHECK(statistics.minimum == 45);
  CHECK(statistics.maximum == 75);
  CHECK(statistics.centroid_voxel == std::array<double, 3>{1.5, 2, 3});
  CHECK(statistics.centroid_mm == std::array<double, 3>{7, 26, 42});
  CHECK(statistics.box.start == std::array<int64_t, 3>{1, 2, 3});
  CHECK(statistics.box.end == std::array<int64_t, 3>{3, 3, 4});
  CHECK_FALSE(statistics.touches_border);
}

TEST_CASE("a mask on any of the six faces touches the border") {
  const Volume scan = numbered_scan();
  const std::array<std::array<int64_t, 3>, 6> faces{{{0, 2, 2}, {3, 2, 2}, {1, 0, 2}, {1, 4, 2}, {1, 2, 0}, {1, 2, 5}}};
  for (const auto& voxel : faces) {
    BitMasks masks({4, 5, 6}, 1);
    masks.set(0, voxel[0], voxel[1], voxel[2]);
    CHECK(measure_mask(masks, 0, scan).touches_border);
  }
}

TEST_CASE("an oblique affine changes the volume by its determinant, not by its diagonal") {
  Volume scan = numbered_scan();
  const double c = std::cos(0.5), s = std::sin(0.5);
  scan.geometry.voxel_to_world_mm.m = {{{2 * c, -3 * s, 0, 0}, {2 * s, 3 * c, 0, 0}, {0, 0, 4, 0}, {0, 0, 0, 1}}};
  BitMasks masks({4, 5, 6}, 1);
  masks.set(0, 0, 1, 0);
  const MaskStatistics statistics = measure_mask(masks, 0, scan);
  CHECK(statistics.volume_mm3 == doctest::Approx(24));
  CHECK(statistics.centroid_mm[0] == doctest::Approx(-3 * s));
}

TEST_CASE("an empty mask has zero volume and null for what it has not") {
  const MaskStatistics statistics = measure_mask(BitMasks({4, 5, 6}, 1), 0, numbered_scan());
  CHECK(statistics.voxels == 0);
  const Json json = to_json(statistics);
  CHECK(json["volume_mm3"].number() == 0);
  CHECK(json["intensity"]["mean"].is_null());
  CHECK(json["centroid_mm"].is_null());
  CHECK(json["bounding_box"].is_null());
  CHECK_FALSE(json["touches_border"].boolean());
}

TEST_CASE("intensities that are not finite are left out and the rest is measured") {
  Volume scan = numbered_scan();
  scan.voxels.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  scan.voxels.data<float>()[1] = std::numeric_limits<float>::infinity();
  BitMasks masks({4, 5, 6}, 1);
  for (int64_t d = 0; d < 4; ++d) masks.set(0, 0, 0, d);
  const MaskStatistics statistics = measure_mask(masks, 0, scan);
  CHECK(statistics.voxels == 4);
  CHECK(statistics.measured == 2);
  CHECK(statistics.mean == doctest::Approx(2.5));
}

TEST_CASE("a small spread on a large mean keeps its digits, with the same bits for any number of threads") {
  MaskStatistics first;
  for (int threads : {1, 2, 8}) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    UseContext use(context);
    Volume scan;
    scan.geometry.size = {64, 30, 20};
    scan.voxels = Tensor({64, 30, 20});
    BitMasks masks({64, 30, 20}, 1);
    for (int64_t v = 0; v < scan.voxels.numel(); ++v) {
      scan.voxels.data<float>()[v] = 1048576.f + float(v % 2);
      masks.set(0, v / 600, v / 20 % 30, v % 20);
    }
    const MaskStatistics statistics = measure_mask(masks, 0, scan);
    CHECK(statistics.mean == doctest::Approx(1048576.5).epsilon(1e-12));
    CHECK(statistics.deviation == doctest::Approx(0.5).epsilon(1e-9));
    if (threads == 1) first = statistics;
    CHECK(statistics.mean == first.mean);
    CHECK(statistics.deviation == first.deviation);
  }
}

TEST_CASE("overlapping masks of any outline measure what their voxels say, together and alone") {
  const std::array<int64_t, 3> size{9, 7, 67};  // lines that end within words, and planes within four voxels
  Volume scan;
  scan.geometry.size = size;
  scan.voxels = field("intensities", {9, 7, 67}, 400, -100);
  scan.voxels.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  scan.voxels.data<float>()[9 * 7 * 67 - 1] = -std::numeric_limits<float>::infinity();
  const int64_t prompts = 19;  // more than are measured together
  const Tensor inside = field("masks", {prompts, scan.voxels.numel()}, 1);
  BitMasks masks(size, prompts);
  for (int64_t p = 0; p < prompts; ++p) {
    for (int64_t v = 0; v < scan.voxels.numel(); ++v) {
      if (inside.data<float>()[p * scan.voxels.numel() + v] > 0 || p == 18) masks.set(p, v / 469, v / 67 % 7, v % 67);
    }
  }
  const std::vector<MaskStatistics> all = measure_masks(masks, scan);
  REQUIRE(all.size() == 19);
  for (int64_t p = 0; p < prompts; ++p) {
    std::vector<double> values;
    for (int64_t v = 0; v < scan.voxels.numel(); ++v) {
      const double value = double(scan.voxels.data<float>()[v]);
      if (masks.get(p, v / 469, v / 67 % 7, v % 67) && std::isfinite(value)) values.push_back(value);
    }
    double sum = 0, squares = 0;
    for (double value : values) sum += value;
    for (double value : values) squares += std::pow(value - sum / double(values.size()), 2);
    const MaskStatistics& got = all[size_t(p)];
    CHECK(got.voxels == masks.count(p));
    CHECK(got.measured == int64_t(values.size()));
    CHECK(got.mean == doctest::Approx(sum / double(values.size())).epsilon(1e-12));
    CHECK(got.deviation == doctest::Approx(std::sqrt(squares / double(values.size()))).epsilon(1e-12));
    CHECK(got.minimum == *std::min_element(values.begin(), values.end()));
    CHECK(got.maximum == *std::max_element(values.begin(), values.end()));
    const MaskStatistics alone = measure_mask(masks, p, scan);
    CHECK(alone.mean == got.mean);
    CHECK(alone.deviation == got.deviation);
  }
}

TEST_CASE("a scan of another size is refused") {
  CHECK_THROWS_WITH_AS(measure_mask(BitMasks({4, 5, 7}, 1), 0, numbered_scan()),
                       doctest::Contains("masks are [4, 5, 7], the scan is [4, 5, 6]"), Error);
}
