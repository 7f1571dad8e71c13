// Affines computed by Eigen have the bits of plain loops: grids are rounded to whole voxels, so a last bit can decide.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

#include "sat/io/scans/volume.h"

namespace sat {
namespace {

/// Every number of it differs in size, so that sums in another order have other last bits.
Affine random_affine(std::mt19937& random) {
  std::normal_distribution<double> normal;
  Affine a;
  for (size_t i = 0; i < 3; ++i) {
    for (double& value : a.m[i]) value = normal(random) * std::exp(normal(random));
  }
  return a;
}

bool same_bits(double a, double b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }

TEST_CASE("products, lengths, points and determinants add their terms from the first to the last") {
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 1000; ++repeat) {
    const Affine a = random_affine(random), b = random_affine(random);
    const Affine ab = a * b;
    for (size_t i = 0; i < 4; ++i) {
      for (size_t j = 0; j < 4; ++j) {
        double sum = 0;
        for (size_t k = 0; k < 4; ++k) sum += a.m[i][k] * b.m[k][j];
        REQUIRE(same_bits(ab.m[i][j], sum));
      }
    }
    const std::array<double, 3> norms = column_norms(a), point{b.m[0][0], b.m[1][1], b.m[2][2]};
    const std::array<double, 3> moved = sat::apply(a, point);
    for (size_t j = 0; j < 3; ++j) {
      double squares = 0, place = 0;
      for (size_t i = 0; i < 3; ++i) squares += a.m[i][j] * a.m[i][j];
      for (size_t k = 0; k < 3; ++k) place += a.m[j][k] * point[k];
      REQUIRE(same_bits(norms[j], std::sqrt(squares)));
      REQUIRE(same_bits(moved[j], place + a.m[j][3]));
    }
    const auto& m = a.m;
    REQUIRE(same_bits(determinant(a), m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
                                          m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
                                          m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])));
  }
}

TEST_CASE("a product and an inverse hold no -0") {
  Affine mirror;
  mirror.m[0][0] = mirror.m[1][1] = -1;
  for (const Affine& a : {mirror * mirror, mirror * Affine{}}) {
    for (const auto& row : a.m) {
      for (double value : row) CHECK_FALSE(same_bits(value, -0.0));
    }
  }
  for (size_t i = 0; i < 3; ++i) CHECK(same_bits(inverse(mirror).m[i][3], 0.0));
}

TEST_CASE("the inverse of a straight grid is exactly the reciprocals of its spacing") {
  for (double spacing : {0.390625, 0.7, 0.9766, 1.5, 3.0}) {
    Affine a;
    a.m[0] = {0, -spacing, 0, 7};
    a.m[1] = {0, 0, 2.5, 8};
    a.m[2] = {1.1, 0, 0, 9};
    const Affine b = inverse(a);
    CHECK(b.m[0][2] == 1 / 1.1);
    CHECK(b.m[1][0] == -1 / spacing);
    CHECK(b.m[2][1] == 1 / 2.5);
  }
}

}  // namespace
}  // namespace sat
