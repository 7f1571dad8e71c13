// Distances between surfaces against the definition: every element asked against every other.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/nn/evaluation/segmentation/surface_distance.h"
#include "sat/tensor/error.h"
#include "tests/support/golden.h"

using namespace sat;

namespace {

/// Places of a box at random, in order.
std::vector<SurfaceElement> places(const std::string& name, const std::array<int, 3>& from,
                                   const std::array<int, 3>& size, double share) {
  const std::vector<double> values = test::unit(name, int64_t(size[0]) * size[1] * size[2]);
  std::vector<SurfaceElement> found;
  size_t at = 0;
  for (int h = 0; h < size[0]; ++h) {
    for (int w = 0; w < size[1]; ++w) {
      for (int d = 0; d < size[2]; ++d) {
        if (values[at++] < share) found.push_back({from[0] + h, from[1] + w, from[2] + d, 1});
      }
    }
  }
  return found;
}

/// The largest difference from the definition.
double error_of(const std::vector<SurfaceElement>& from, const std::vector<SurfaceElement>& to,
                const std::array<double, 3>& spacing) {
  const std::vector<double> got = distances_to(from, to, spacing);
  double worst = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    double nearest = std::numeric_limits<double>::infinity();
    for (const SurfaceElement& other : to) {
      nearest = std::min(nearest, std::hypot((from[i].h - other.h) * spacing[0], (from[i].w - other.w) * spacing[1],
                                             (from[i].d - other.d) * spacing[2]));
    }
    worst = std::max(worst, std::fabs(got[i] - nearest));
  }
  return worst;
}

}  // namespace

TEST_CASE("distances are exact at awkward sizes and spacings") {
  const std::array<double, 3> spacings[] = {{1, 1, 3}, {0.7, 0.7, 5}, {3, 0.1, 1.5}, {0.98, 12, 0.33}};
  const std::array<int, 3> sizes[] = {{13, 17, 11}, {1, 40, 3}, {37, 1, 2}, {2, 3, 67}, {1, 1, 90}};
  for (const auto& spacing : spacings) {
    for (const auto& size : sizes) {
      CAPTURE(size[2]);
      const auto a = places("a", {0, 0, 0}, size, 0.1), b = places("b", {0, 0, 0}, size, 0.05);
      CHECK(error_of(a, b, spacing) < 1e-12);
      CHECK(error_of(b, a, spacing) < 1e-12);
    }
  }
}

TEST_CASE("distances between surfaces whose boxes are apart, inside each other or of one place are exact") {
  const auto here = places("a", {5, 6, 7}, {6, 5, 9}, 0.3), far = places("b", {40, 1, 30}, {4, 20, 7}, 0.1),
             around = places("c", {0, 0, 0}, {20, 20, 25}, 0.01);
  const std::vector<SurfaceElement> one{{2, 60, 3, 1}};
  const std::array<double, 3> spacing{0.8, 0.7, 2.5};
  for (const auto* from : {&here, &far, &around, &one}) {
    for (const auto* to : {&here, &far, &around, &one}) CHECK(error_of(*from, *to, spacing) < 1e-12);
  }
}

TEST_CASE("layers that are done one after the other give the same distances") {
  // 2100 x 2100 places a layer are more than are held at once, so each layer is done alone.
  std::vector<SurfaceElement> from, to;
  for (int i = 0; i < 6; ++i) from.push_back({i * 420, (i * 1000) % 2100, i % 3, 1});
  for (int i = 0; i < 5; ++i) to.push_back({i * 525, (i * 777) % 2100, (i * 2) % 4, 1});
  CHECK(error_of(from, to, {0.5, 0.6, 0.7}) < 1e-10);
}

TEST_CASE("the distance to nothing is infinite, and a spacing must be a length") {
  const std::vector<SurfaceElement> one{{0, 0, 0, 1}};
  CHECK(std::isinf(distances_to(one, {}, {1, 1, 1})[0]));
  CHECK(distances_to({}, one, {1, 1, 1}).empty());
  CHECK_THROWS_AS(distances_to(one, one, {1, 0, 1}), Error);
}
