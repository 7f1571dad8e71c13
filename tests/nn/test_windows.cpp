// Sliding windows and the importance map against the published inference.
#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

#include "sat/nn/run/windows.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"

using namespace sat;

namespace {

float at(const Tensor& map, int64_t h, int64_t w, int64_t d) {
  return map.data<float>()[(h * map.shape[1] + w) * map.shape[2] + d];
}

std::vector<std::pair<int64_t, int64_t>> along(int64_t size, int64_t window) {
  std::vector<std::pair<int64_t, int64_t>> ends;
  for (const Window& w : sliding_windows({size, 1, 1}, {window, 2, 2})) ends.emplace_back(w.start[0], w.end[0]);
  return ends;
}

}  // namespace

TEST_CASE("windows lie where the published inference puts them") {
  using Ends = std::vector<std::pair<int64_t, int64_t>>;
  CHECK(along(100, 288) == Ends{{0, 100}});
  CHECK(along(288, 288) == Ends{{0, 288}});
  CHECK(along(290, 288) == Ends{{0, 288}, {2, 290}});
  CHECK(along(373, 288) == Ends{{0, 288}, {85, 373}});
  CHECK(along(432, 288) == Ends{{0, 288}, {144, 432}});
  CHECK(along(433, 288) == Ends{{0, 288}, {144, 432}, {145, 433}});
  CHECK(along(450, 288) == Ends{{0, 288}, {144, 432}, {162, 450}});
  CHECK(along(101, 96) == Ends{{0, 96}, {5, 101}});
}

TEST_CASE("windows come with the last axis innermost and cover every voxel, whatever the sizes") {
  const std::vector<Window> windows = sliding_windows({300, 200, 120}, {288, 288, 96});
  REQUIRE(windows.size() == 4);
  CHECK(windows[0] == Window{{0, 0, 0}, {288, 200, 96}});
  CHECK(windows[1] == Window{{0, 0, 24}, {288, 200, 120}});
  CHECK(windows[2] == Window{{12, 0, 0}, {300, 200, 96}});
  CHECK(windows[3] == Window{{12, 0, 24}, {300, 200, 120}});
  for (int64_t window : {2, 3, 5, 8, 13}) {
    for (int64_t size = 1; size <= 40; ++size) {
      int64_t covered = 0;
      for (const auto& [start, end] : along(size, window)) {
        CHECK(start <= covered);
        CHECK(end - start == std::min(window, size));
        covered = end;
      }
      CHECK(covered == size);
    }
  }
}

TEST_CASE("a window found by its number is the list's, and any axis can be the outermost") {
  for (const std::array<int64_t, 3> size : {std::array<int64_t, 3>{37, 25, 13}, {16, 40, 5}, {7, 9, 26}}) {
    const std::array<int64_t, 3> box{16, 12, 8};
    std::vector<Window> list = sliding_windows(size, box);
    for (int outermost = 0; outermost < 3; ++outermost) {
      std::stable_sort(list.begin(), list.end(), [&](const Window& a, const Window& b) {
        return a.start[size_t(outermost)] < b.start[size_t(outermost)];
      });
      const WindowGrid grid(size, box, outermost);
      REQUIRE(grid.size() == int64_t(list.size()));
      for (int64_t i = 0; i < grid.size(); ++i) CHECK(grid[i] == list[size_t(i)]);
      list = sliding_windows(size, box);
    }
  }
  CHECK(WindowGrid({288 * 1001, 96, 96}, {288, 96, 96}).size() == 2001);
  CHECK_THROWS_WITH_AS(WindowGrid({int64_t(1) << 60, int64_t(1) << 60, 9}, {2, 2, 2}),
                       doctest::Contains("at most 1000000 are computed"), Error);
}

TEST_CASE("windows of an empty volume or of one voxel are refused") {
  CHECK_THROWS_WITH_AS(sliding_windows({4, 0, 4}, {2, 2, 2}),
                       "sliding_windows: volume is 4 x 0 x 4 voxels, needs at least 1 along each axis", Error);
  CHECK_THROWS_WITH_AS(sliding_windows({4, 4, 4}, {2, 1, 2}),
                       "sliding_windows: window is 2 x 1 x 2 voxels, needs at least 2 along each axis", Error);
  CHECK_THROWS_AS(importance_map({0, 4, 4}, Rounding::f32), Error);
}

TEST_CASE("the published window's importance has the recorded binary16 values") {
  const Tensor map = importance_map({288, 288, 96}, Rounding::f16);
  CHECK(at(map, 144, 144, 48) == 10.0f);
  CHECK(at(map, 0, 0, 48) == doctest::Approx(1.132488e-06).epsilon(1e-6));
  CHECK(at(map, 144, 144, 0) == doctest::Approx(0.003355026).epsilon(1e-6));
  CHECK(at(map, 0, 0, 0) == 0x1p-24f);
  CHECK(at(map, 72, 72, 24) == doctest::Approx(0.02478027).epsilon(1e-6));
  CHECK(at(map, 36, 100, 10) == doctest::Approx(0.00034976).epsilon(1e-5));
  CHECK(at(map, 287, 144, 48) == doctest::Approx(0.00374794).epsilon(1e-5));
  const Tensor exact = importance_map({288, 288, 96}, Rounding::f32);
  int64_t replaced = 0, unrounded = 0;
  for (int64_t v = 0; v < map.numel(); ++v) {
    const float rounded = to_float(to_f16(exact.data<float>()[v]));
    replaced += rounded == 0;
    unrounded += map.data<float>()[v] != std::max(rounded, 0x1p-24f);
  }
  CHECK(replaced == 34227);
  CHECK(unrounded == 0);
}

TEST_CASE("a small window's importance in f32 follows the formula about its middle") {
  const Tensor map = importance_map({64, 64, 64}, Rounding::f32);
  CHECK(at(map, 32, 32, 32) == 10.0f);
  CHECK(at(map, 24, 32, 40) == doctest::Approx(10 * 0.36787944).epsilon(1e-6));  // one sigma on two axes
  CHECK(at(map, 0, 0, 0) == doctest::Approx(10 * 3.7751345e-11).epsilon(1e-6));  // four sigma on all
}
