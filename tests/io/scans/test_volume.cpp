// Affines invert, and every axis order reads to the letters of its grid.
#include "sat/io/scans/volume.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace sat {
namespace {

/// A rotation about `axis` (0, 1, 2) by an angle in radians.
Affine turn(size_t axis, double angle) {
  Affine a;
  const size_t i = (axis + 1) % 3, j = (axis + 2) % 3;
  a.m[i][i] = a.m[j][j] = std::cos(angle);
  a.m[j][i] = std::sin(angle);
  a.m[i][j] = -std::sin(angle);
  return a;
}

struct AxisOrder {
  AxisMap map;
  Affine affine;  // axis-aligned, spacing 0.7, 1.1, 3 mm
};

std::vector<AxisOrder> all_axis_orders() {
  std::vector<AxisOrder> orders;
  std::array<int, 3> axes{0, 1, 2};
  do {
    for (int flips = 0; flips < 8; ++flips) {
      AxisOrder order{{axes, {}}, {}};
      for (size_t j = 0; j < 3; ++j) {
        order.map.flipped[j] = flips >> j & 1;
        for (size_t i = 0; i < 3; ++i) order.affine.m[i][j] = 0;
        const double spacing = std::array<double, 3>{0.7, 1.1, 3}[j];
        order.affine.m[size_t(axes[j])][j] = order.map.flipped[j] ? -spacing : spacing;
        order.affine.m[j][3] = 10.5 * double(j) - 7;
      }
      orders.push_back(order);
    }
  } while (std::next_permutation(axes.begin(), axes.end()));
  return orders;
}

double distance_from_identity(const Affine& a) {
  double largest = 0;
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) largest = std::max(largest, std::fabs(a.m[i][j] - (i == j)));
  }
  return largest;
}

TEST_CASE("all 48 axis orders, straight and tilted by up to 40 degrees, are recognised") {
  const std::vector<AxisOrder> orders = all_axis_orders();
  REQUIRE(orders.size() == 48);
  for (const AxisOrder& order : orders) {
    std::string code;
    for (size_t j = 0; j < 3; ++j) code += (order.map.flipped[j] ? "LPI" : "RAS")[order.map.world_axis[j]];
    CAPTURE(code);
    CHECK(orientation_code(order.affine) == code);
    for (size_t axis = 0; axis < 3; ++axis) {
      for (double degrees : {-40.0, -7.0, 0.01, 25.0, 40.0}) {
        const AxisMap map = closest_axes(turn(axis, degrees * 3.14159265358979 / 180) * order.affine);
        CHECK(map.world_axis == order.map.world_axis);
        CHECK(map.flipped == order.map.flipped);
      }
    }
  }
}

TEST_CASE("spacing does not sway the choice of axes, and shear is divided among them") {
  Affine a;
  a.m[0] = {0.1, 9, 0, 0};  // the second axis is long and leans by 45 degrees, the first is short
  a.m[1] = {0.01, 9.1, 0, 0};
  a.m[2] = {0, 0, 1, 0};
  CHECK(orientation_code(a) == "RAS");
}

TEST_CASE("a tie goes to the first patient axis, and a taken axis is not given twice") {
  Affine a;  // both axes lean exactly halfway between right and front
  a.m[0] = {1, -1, 0, 0};
  a.m[1] = {1, 1, 0, 0};
  const AxisMap map = closest_axes(a);
  CHECK(map.world_axis == std::array<int, 3>{0, 1, 2});
  CHECK(map.flipped == std::array<bool, 3>{false, false, false});
}

TEST_CASE("an affine times its inverse is the identity, for straight and oblique grids") {
  for (const AxisOrder& order : all_axis_orders()) {
    // A translation of about 14 mm comes back to within its last bit.
    CHECK(distance_from_identity(order.affine * inverse(order.affine)) <= 4e-15);
    const Affine oblique = turn(0, 0.3) * turn(1, -0.8) * turn(2, 1.1) * order.affine;
    CHECK(distance_from_identity(inverse(oblique) * oblique) <= 1e-14);
    const std::array<double, 3> there = sat::apply(oblique, {3, 5, 7}), back = sat::apply(inverse(oblique), there);
    for (size_t i = 0; i < 3; ++i) CHECK(back[i] == doctest::Approx(3 + 2 * double(i)).epsilon(1e-12));
  }
}

TEST_CASE("column norms are the spacing, whatever the rotation") {
  for (const AxisOrder& order : all_axis_orders()) {
    const std::array<double, 3> norms = column_norms(turn(1, 0.4) * order.affine);
    CHECK(norms[0] == doctest::Approx(0.7).epsilon(1e-14));
    CHECK(norms[1] == doctest::Approx(1.1).epsilon(1e-14));
    CHECK(norms[2] == doctest::Approx(3.0).epsilon(1e-14));
  }
}

TEST_CASE("singular affines and those with NaN are refused") {
  Affine flat;
  flat.m[2] = {0, 0, 0, 5};
  CHECK_THROWS_AS(inverse(flat), Error);
  CHECK_THROWS_AS(orientation_code(flat), Error);
  Affine parallel;
  parallel.m[0] = {1, 2, 0, 0};
  parallel.m[1] = {1, 2, 0, 0};
  CHECK_THROWS_AS(inverse(parallel), Error);
  Affine broken;
  broken.m[1][1] = std::nan("");
  CHECK_THROWS_AS(inverse(broken), Error);
  CHECK_THROWS_AS(orientation_code(broken), Error);
  Affine tiny;  // very small voxels are no reason to refuse
  for (size_t i = 0; i < 3; ++i) tiny.m[i][i] = 1e-9;
  CHECK(inverse(tiny).m[0][0] == doctest::Approx(1e9));
}

}  // namespace
}  // namespace sat
