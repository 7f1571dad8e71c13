// Affine arithmetic in double, and the axes that a grid follows.
#include "sat/io/scans/volume.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace sat {

namespace {

using Matrix3 = std::array<std::array<double, 3>, 3>;  // [row][column]

/// Rotates columns p and q of `a` until they are perpendicular, and those of `v` alike (one step of one-sided Jacobi).
void make_perpendicular(Matrix3& a, Matrix3& v, int p, int q) {
  double pp = 0, qq = 0, pq = 0;
  for (const auto& row : a) {
    pp += row[size_t(p)] * row[size_t(p)];
    qq += row[size_t(q)] * row[size_t(q)];
    pq += row[size_t(p)] * row[size_t(q)];
  }
  if (std::fabs(pq) <= std::numeric_limits<double>::epsilon() * std::sqrt(pp * qq)) return;
  const double zeta = (qq - pp) / (2 * pq);
  const double t = (zeta >= 0 ? 1.0 : -1.0) / (std::fabs(zeta) + std::sqrt(1 + zeta * zeta));
  const double c = 1 / std::sqrt(1 + t * t), s = c * t;
  for (Matrix3* matrix : {&a, &v}) {
    for (auto& row : *matrix) {
      const double left = row[size_t(p)], right = row[size_t(q)];
      row[size_t(p)] = c * left - s * right;
      row[size_t(q)] = s * left + c * right;
    }
  }
}

/// P Q^T of the singular value decomposition P S Q^T, without the directions whose singular value is nearly zero.
Matrix3 nearest_rotation(Matrix3 a) {
  Matrix3 v{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  for (int sweep = 0; sweep < 30; ++sweep) {  // it converges quadratically: six are many
    make_perpendicular(a, v, 0, 1);
    make_perpendicular(a, v, 0, 2);
    make_perpendicular(a, v, 1, 2);
  }
  std::array<double, 3> singular{};
  for (size_t k = 0; k < 3; ++k) singular[k] = std::hypot(a[0][k], a[1][k], a[2][k]);
  const double least = *std::max_element(singular.begin(), singular.end()) * 3 * std::numeric_limits<double>::epsilon();
  Matrix3 r{};
  for (size_t k = 0; k < 3; ++k) {
    if (!(singular[k] > least)) continue;
    for (size_t i = 0; i < 3; ++i) {
      for (size_t j = 0; j < 3; ++j) r[i][j] += a[i][k] / singular[k] * v[j][k];
    }
  }
  return r;
}

bool is_finite(const Affine& a) {
  for (const auto& row : a.m) {
    for (double value : row) {
      if (!std::isfinite(value)) return false;
    }
  }
  return true;
}

}  // namespace

Affine operator*(const Affine& a, const Affine& b) {
  Affine c;
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) {
      double sum = 0;
      for (size_t k = 0; k < 4; ++k) sum += a.m[i][k] * b.m[k][j];
      c.m[i][j] = sum;
    }
  }
  return c;
}

Affine inverse(const Affine& a) {
  SAT_CHECK(is_finite(a), "an affine with numbers that are not finite has no inverse");
  // Gauss-Jordan with row exchange on the columns scaled to length 1, so that "nearly zero" has a meaning.
  std::array<double, 3> norms = column_norms(a);
  Matrix3 left{}, right{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) left[i][j] = norms[j] > 0 ? a.m[i][j] / norms[j] : 0;
  }
  for (size_t column = 0; column < 3; ++column) {
    size_t pivot = column;
    for (size_t i = column + 1; i < 3; ++i) {
      if (std::fabs(left[i][column]) > std::fabs(left[pivot][column])) pivot = i;
    }
    SAT_CHECK(std::fabs(left[pivot][column]) > 1e-12, "the affine is singular: its axes, of ", norms[0], ", ", norms[1],
              " and ", norms[2], " mm a voxel, do not span space");
    std::swap(left[pivot], left[column]);
    std::swap(right[pivot], right[column]);
    const double scale = left[column][column];
    for (size_t j = 0; j < 3; ++j) left[column][j] /= scale, right[column][j] /= scale;
    for (size_t i = 0; i < 3; ++i) {
      const double factor = left[i][column];
      if (i == column || factor == 0) continue;
      for (size_t j = 0; j < 3; ++j) {
        left[i][j] -= factor * left[column][j];
        right[i][j] -= factor * right[column][j];
      }
    }
  }
  Affine b;
  for (size_t i = 0; i < 3; ++i) {
    double shift = 0;
    for (size_t j = 0; j < 3; ++j) {
      b.m[i][j] = right[i][j] / norms[i];
      shift += b.m[i][j] * a.m[j][3];
    }
    b.m[i][3] = 0 - shift;  // never -0
  }
  return b;
}

std::array<double, 3> apply(const Affine& a, const std::array<double, 3>& point) {
  std::array<double, 3> moved{};
  for (size_t i = 0; i < 3; ++i) {
    moved[i] = a.m[i][0] * point[0] + a.m[i][1] * point[1] + a.m[i][2] * point[2] + a.m[i][3];
  }
  return moved;
}

std::array<double, 3> column_norms(const Affine& a) {
  std::array<double, 3> norms{};
  for (size_t j = 0; j < 3; ++j) {
    norms[j] = std::sqrt(a.m[0][j] * a.m[0][j] + a.m[1][j] * a.m[1][j] + a.m[2][j] * a.m[2][j]);
  }
  return norms;
}

AxisMap closest_axes(const Affine& voxel_to_world_mm) {
  SAT_CHECK(is_finite(voxel_to_world_mm), "an affine with numbers that are not finite has no orientation");
  const std::array<double, 3> norms = column_norms(voxel_to_world_mm);
  Matrix3 directions{};
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) directions[i][j] = voxel_to_world_mm.m[i][j] / (norms[j] == 0 ? 1 : norms[j]);
  }
  Matrix3 r = nearest_rotation(directions);
  AxisMap map{};
  for (size_t j = 0; j < 3; ++j) {
    size_t best = 0;
    for (size_t i = 1; i < 3; ++i) {
      if (std::fabs(r[i][j]) > std::fabs(r[best][j])) best = i;
    }
    SAT_CHECK(std::fabs(r[best][j]) > 1e-8, "the affine is singular: array axis ", j, " has no direction of its own");
    map.world_axis[j] = int(best);
    map.flipped[j] = r[best][j] < 0;
    r[best] = {0, 0, 0};  // cannot be chosen again
  }
  return map;
}

std::string orientation_code(const Affine& voxel_to_world_mm) {
  const AxisMap map = closest_axes(voxel_to_world_mm);
  std::string code;
  for (size_t j = 0; j < 3; ++j) code += (map.flipped[j] ? "LPI" : "RAS")[map.world_axis[j]];
  return code;
}

}  // namespace sat
