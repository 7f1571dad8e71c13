// Preprocessing against the recorded outputs of the published loader, and what it does where that one would crash.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/io/scans/preprocess.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "tests/support/golden.h"
#include "tests/support/parity/preprocess_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

Affine diagonal(double x, double y, double z) {
  Affine affine;
  affine.m[0][0] = x, affine.m[1][1] = y, affine.m[2][2] = z;
  return affine;
}

Volume volume_of(const Tensor& voxels, const Affine& affine) {
  return {voxels, {{voxels.shape[0], voxels.shape[1], voxels.shape[2]}, affine}};
}

PreprocessOptions clipped(double low, double high) {
  PreprocessOptions options;
  options.normalisation = {Normalisation::Kind::clip, low, high};
  return options;
}

/// Voxels in one row, already at the model's spacing, so that only intensities change.
Preprocessed preprocess_row(const std::vector<float>& values, const PreprocessOptions& options) {
  return preprocess(volume_of(from_values({int64_t(values.size()), 1, 1}, values), diagonal(1, 1, 3)), options);
}

}  // namespace

TEST_CASE("the published loader's recorded results are reproduced, for both orientation codes") {
  const Json records = Json::parse(read_text(golden_path("preprocess/values.json")), "values.json");
  REQUIRE(records.size() == 16);
  for (const Json& record : records.items()) {
    for (const ParityLine& line : compare_preprocess(golden_path("preprocess"), record)) {
      INFO(record["case"].string(), " ", record["orientation_code"].string(), ": ", line.quantity, " is off by ",
           line.error);
      CHECK(line.passed());
      if (line.quantity == "array, of range") CHECK(line.error < 5e-7);  // a few roundings of f32
    }
  }
}

TEST_CASE("sizes after resampling are those of the published pipeline") {
  Geometry scan{{20, 24, 13}, {}};
  const double c = std::cos(0.1), s = std::sin(0.1);
  scan.voxel_to_world_mm.m = {{{-0.7 * c, 0.8 * s, 0, 0}, {-0.7 * s, -0.8 * c, 0, 0}, {0, 0, 2.5, 0}, {0, 0, 0, 1}}};
  PreprocessOptions options;
  CHECK(plan_grid(scan, options).model.size == std::array<int64_t, 3>{14, 19, 11});
  options.orientation = "ASR";
  CHECK(plan_grid(scan, options).model.size == std::array<int64_t, 3>{19, 31, 5});

  const Geometry ct{{512, 600, 10}, diagonal(0.7421875, 0.75, 3)};
  CHECK(plan_grid(ct, {}).model.size == std::array<int64_t, 3>{380, 450, 10});
}

TEST_CASE("computed tomography is clipped to fixed bounds and normalised as recorded, if called exactly so") {
  // Recorded for -1000 -600 0 40 300 1500; with voxels above 0 at both ends nothing is cropped away.
  const Preprocessed result = preprocess_row({40, -1000, -600, 0, 300, 1500}, published_preprocess("CT"));
  const Tensor want =
      from_values({6, 1, 1}, {-0.03255758f, -1.0874231f, -1.0874231f, -0.11069576f, 0.47534057f, 1.8427588f});
  CHECK(mismatch(result.voxels, want, {1e-6, 1e-7}) == "");
  CHECK(result.low == -500);
  CHECK(result.high == 1000);
  for (const char* other : {"cta", "mri", "ct ", ""}) {
    CHECK(published_preprocess(other).normalisation.kind == Normalisation::Kind::percentiles);
  }
}

TEST_CASE("other modalities are clipped to percentiles between order statistics, then normalised as recorded") {
  const Preprocessed result = preprocess_row({3, 1, 4, 1, 5, 9, 2, 6, 5, 3}, published_preprocess("mri"));
  CHECK(result.low == 1.0);
  CHECK(result.high == double(8.865f));
  const Tensor want = from_values({10, 1, 1}, {-0.38312626f, -1.2474835f, 0.04905232f, -1.2474835f, 0.4812309f,
                                               2.151601f, -0.8153049f, 0.9134095f, 0.4812309f, -0.38312626f});
  CHECK(mismatch(result.voxels, want, {1e-6, 1e-7}) == "");
}

TEST_CASE("percentiles equal those of a sorted copy, negative values and ties included") {
  Tensor voxels = field("percentiles", {40, 37, 29}, 800, -100);
  for (int64_t v = 0; v < voxels.numel(); v += 3) voxels.data<float>()[v] = -123.5f;
  std::vector<float> sorted(voxels.data<float>(), voxels.data<float>() + voxels.numel());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [low, high] : {std::pair{0.0, 100.0}, std::pair{0.5, 99.5}, std::pair{12.3, 45.6}}) {
    PreprocessOptions options;
    options.normalisation = {Normalisation::Kind::percentiles, low, high};
    const Preprocessed result = preprocess(volume_of(voxels, diagonal(1, 1, 3)), options);
    REQUIRE(result.voxels.numel() == voxels.numel());
    const auto expected = [&](double percent) {
      const double position = percent / 100 * double(sorted.size() - 1);
      const size_t below = size_t(position), above = std::min(below + 1, sorted.size() - 1);
      return double(float(sorted[below] + (position - double(below)) * (double(sorted[above]) - sorted[below])));
    };
    CHECK(result.low == expected(low));
    CHECK(result.high == expected(high));
  }
}

TEST_CASE("a scan that already has the model's grid keeps its values to the bit") {
  Tensor voxels = field("untouched", {7, 6, 5}, 50, 200);
  const Tensor before = voxels.clone();
  const Volume scan = volume_of(voxels, diagonal(-1, 1, 3));  // left to right is mirrored
  PreprocessOptions options = clipped(-1e30, 1e30);
  const Preprocessed result = preprocess(scan, options);
  CHECK_FALSE(result.grid.resampled_any);
  CHECK(mismatch(voxels, before, {}) == "");
  REQUIRE(result.voxels.shape == voxels.shape);
  for (int64_t h = 0; h < 7; ++h) {
    for (int64_t rest = 0; rest < 30; ++rest) {
      const double value = double(before.data<float>()[(6 - h) * 30 + rest]);
      CHECK(result.voxels.data<float>()[h * 30 + rest] == float((value - result.mean) / result.deviation));
    }
  }
}

TEST_CASE("the crop is the box of voxels above zero, and the affine follows it") {
  Tensor voxels = full({10, 9, 8}, -5);
  voxels.data<float>()[(2 * 9 + 3) * 8 + 1] = 1;
  voxels.data<float>()[(6 * 9 + 4) * 8 + 5] = 2;
  const ModelGrid grid = preprocess(volume_of(voxels, diagonal(1, 1, 3)), clipped(-10, 10)).grid;
  CHECK(grid.crop == std::array<std::array<int64_t, 2>, 3>{{{2, 7}, {3, 5}, {1, 6}}});
  CHECK(grid.model.size == std::array<int64_t, 3>{5, 2, 5});
  CHECK(sat::apply(grid.model.voxel_to_world_mm, {0, 0, 0}) == std::array<double, 3>{2, 3, 3});
  CHECK(plan_grid({{10, 9, 8}, diagonal(1, 1, 3)}, {}).model.size == std::array<int64_t, 3>{10, 9, 8});
}

TEST_CASE("a volume without positive voxels is kept whole, a constant one becomes zeros, both with a warning") {
  const Preprocessed dark = preprocess_row({-5, -4, 0, -7}, clipped(-500, 1000));
  CHECK(dark.voxels.shape == Shape{4, 1, 1});
  REQUIRE(dark.warnings.size() == 1);
  CHECK(dark.warnings[0] == "no voxel is above 0, so nothing was cropped");

  for (float value : {7.1f, -3.3f}) {
    const Preprocessed constant = preprocess_row(std::vector<float>(1000, value), published_preprocess("mri"));
    CHECK(mismatch(constant.voxels, zeros({1000, 1, 1}), {}) == "");
    REQUIRE_FALSE(constant.warnings.empty());
    CHECK(constant.warnings.back() == "after clipping all voxels are the same, so the model sees zeros");
  }
}

TEST_CASE("extreme but finite intensities normalise to finite numbers") {
  const float most = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  for (const std::vector<float>& row :
       {std::vector<float>{most, -most, 1, most}, std::vector<float>{least, 0, least}}) {
    const Preprocessed result = preprocess_row(row, published_preprocess("mri"));
    for (int64_t v = 0; v < result.voxels.numel(); ++v) CHECK(std::isfinite(result.voxels.data<float>()[v]));
  }
}

TEST_CASE("voxels that are not numbers are refused with their count and first position") {
  Tensor voxels = full({4, 3, 5}, 1);
  voxels.data<float>()[(2 * 3 + 1) * 5 + 4] = std::numeric_limits<float>::infinity();
  voxels.data<float>()[(3 * 3 + 0) * 5 + 0] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(preprocess(volume_of(voxels, diagonal(1, 1, 1)), {}),
                       "preprocess: 2 of 60 voxels are not finite numbers, the first (inf) at [2, 1, 4]", Error);
}

TEST_CASE("grids and options that make no sense are refused before anything is allocated") {
  const auto refused = [](const Geometry& scan, const PreprocessOptions& options) {
    CHECK_THROWS_AS(plan_grid(scan, options), Error);
  };
  PreprocessOptions options;
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  refused({{512, 512, 512}, diagonal(1000, 1000, 1000)}, options);  // half a kilometre
  refused({{9, 9, 9}, diagonal(1e300, 1e300, 1e300)}, options);
  refused({{9, 9, 9}, diagonal(1e-300, 1e-300, 1e-300)}, options);
  refused({{9, 9, 9}, diagonal(1, 0, 1)}, options);
  refused({{9, 9, 9}, diagonal(1, nan, 1)}, options);
  refused({{9, 9, 9}, diagonal(inf, 1, 1)}, options);
  refused({{9, 0, 9}, diagonal(1, 1, 1)}, options);
  for (const char* code : {"", "RA", "RAX", "RRS", "RLS", "ras", "RASS"}) {
    options.orientation = code;
    refused({{9, 9, 9}, diagonal(1, 1, 1)}, options);
  }
  options = {};
  for (double spacing : {0.0, -1.0, nan, inf}) {
    options.spacing_mm[1] = spacing;
    refused({{9, 9, 9}, diagonal(1, 1, 1)}, options);
  }
  const Volume scan = volume_of(full({3, 3, 3}, 1), diagonal(1, 1, 1));
  CHECK_THROWS_AS(preprocess(scan, clipped(5, 5)), Error);
  CHECK_THROWS_AS(preprocess(scan, clipped(nan, 5)), Error);
  options = {};
  options.normalisation = {Normalisation::Kind::percentiles, -1, 50};
  CHECK_THROWS_AS(preprocess(scan, options), Error);
  CHECK_THROWS_AS(preprocess({full({3, 3, 3}, 1), {{3, 3, 4}, {}}}, {}), Error);
}

TEST_CASE("the same bits come out for any number of threads, from one copy of the resampled volume") {
  const Tensor voxels = field("threads", {61, 83, 70}, 900, 300);
  const Volume scan = volume_of(voxels, diagonal(0.8, -0.9, 2.2));
  Tensor first;
  for (int threads : {1, 2, 3, 4, 8}) {
    ContextOptions with;
    with.threads = threads;
    Context context(with);
    const UseContext use(context);
    const Preprocessed result = preprocess(scan, published_preprocess("pet"));
    if (first.empty()) first = result.voxels;
    CHECK(mismatch(result.voxels, first, {}) == "");
    CHECK(context.memory()->peak_bytes() == CachingAllocator::rounded(result.grid.resampled.voxels() * 4));
  }
}

TEST_CASE("a dry run takes the memory of a run that crops nothing, and computes nothing") {
  ContextOptions with;
  with.dry = true;
  Context context(with);
  const UseContext use(context);
  const Volume scan = volume_of(Tensor({200, 300, 400}), diagonal(0.8, 0.8, 2.5));
  const int64_t before = context.memory()->live_bytes();
  const Preprocessed result = preprocess(scan, published_preprocess("mri"));
  CHECK(result.grid.model.size == result.grid.resampled.size);
  CHECK(result.voxels.numel() == result.grid.resampled.voxels());
  CHECK(context.memory()->peak_bytes() == before + CachingAllocator::rounded(result.voxels.bytes()));
}
