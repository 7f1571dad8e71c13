// Affine arithmetic in double, and the axes that a grid follows.
#include "sat/io/scans/volume.h"

#include <Eigen/Jacobi>
#include <Eigen/LU>
#include <cmath>
#include <limits>

#include "sat/io/scans/matrix.h"

namespace sat {

namespace {

/// Turns columns p and q of `a` until they are perpendicular, and those of `v` alike (one step of one-sided Jacobi).
void make_perpendicular(Eigen::Matrix3d& a, Eigen::Matrix3d& v, Eigen::Index p, Eigen::Index q) {
  const Eigen::Matrix3d products = column_products(a);
  const double lengths = std::sqrt(products(p, p) * products(q, q));
  if (std::fabs(products(p, q)) <= std::numeric_limits<double>::epsilon() * lengths) return;
  Eigen::JacobiRotation<double> turn;
  turn.makeJacobi(products, p, q);
  a.applyOnTheRight(p, q, turn);
  v.applyOnTheRight(p, q, turn);
}

/// P Q^T of the singular value decomposition P S Q^T, without the directions whose singular value is nearly zero. Not
/// by Eigen's JacobiSVD: that turns columns which are perpendicular already, and so decides what should be a tie.
Eigen::Matrix3d nearest_rotation(Eigen::Matrix3d a) {
  Eigen::Matrix3d v = Eigen::Matrix3d::Identity();
  for (int sweep = 0; sweep < 30; ++sweep) {  // it converges quadratically: six are many
    make_perpendicular(a, v, 0, 1);
    make_perpendicular(a, v, 0, 2);
    make_perpendicular(a, v, 1, 2);
  }
  Eigen::Vector3d singular;
  for (Eigen::Index k = 0; k < 3; ++k) singular[k] = std::hypot(a(0, k), a(1, k), a(2, k));
  const double least = singular.maxCoeff() * 3 * std::numeric_limits<double>::epsilon();
  Eigen::Matrix3d r = Eigen::Matrix3d::Zero();
  for (Eigen::Index k = 0; k < 3; ++k) {
    if (singular[k] > least) r += a.col(k) / singular[k] * v.col(k).transpose();
  }
  return r;
}

}  // namespace

Affine operator*(const Affine& a, const Affine& b) {
  Affine c;
  matrix_of(c) = product(matrix_of(a), matrix_of(b));
  return c;
}

Affine inverse(const Affine& a) {
  SAT_CHECK(matrix_of(a).allFinite(), "an affine with numbers that are not finite has no inverse");
  // Gauss-Jordan with row exchange on the columns scaled to length 1, so that "nearly zero" has a meaning. Not Eigen's
  // inverse(), which goes by cofactors: its last bits differ, and a grid's size is rounded from what it gives.
  const std::array<double, 3> norms = column_norms(a);
  Eigen::Matrix<double, 3, 6> rows;  // the scaled columns, which become the identity, and what becomes their inverse
  rows << linear_part(a), Eigen::Matrix3d::Identity();
  for (Eigen::Index j = 0; j < 3; ++j) {
    if (norms[size_t(j)] > 0) {
      rows.col(j) /= norms[size_t(j)];
    } else {
      rows.col(j).setZero();
    }
  }
  for (Eigen::Index column = 0; column < 3; ++column) {
    bring_pivot_up(rows, column);
    const double scale = rows(column, column);
    SAT_CHECK(std::fabs(scale) > 1e-12, "the affine is singular: its axes, of ", norms[0], ", ", norms[1], " and ",
              norms[2], " mm a voxel, do not span space");
    rows.row(column) /= scale;
    for (Eigen::Index i = 0; i < 3; ++i) {
      const double factor = rows(i, column);
      if (i != column && factor != 0) rows.row(i) -= factor * rows.row(column);
    }
  }
  Affine b;
  linear_part(b) = rows.rightCols<3>().array().colwise() / array_of(norms);
  const Eigen::Vector3d shift = product(linear_part(b), matrix_of(a).col(3).head<3>());
  matrix_of(b).col(3).head<3>() = Eigen::Vector3d::Zero() - shift;  // never -0
  return b;
}

std::array<double, 3> apply(const Affine& a, const std::array<double, 3>& point) {
  const auto m = matrix_of(a);
  const Eigen::Vector4d moved = m.col(0) * point[0] + m.col(1) * point[1] + m.col(2) * point[2] + m.col(3);
  return {moved[0], moved[1], moved[2]};
}

std::array<double, 3> column_norms(const Affine& a) {
  const Eigen::Vector3d norms = column_products(linear_part(a)).diagonal().cwiseSqrt();
  return {norms[0], norms[1], norms[2]};
}

double determinant(const Affine& a) { return linear_part(a).determinant(); }

AxisMap closest_axes(const Affine& voxel_to_world_mm) {
  SAT_CHECK(matrix_of(voxel_to_world_mm).allFinite(), "an affine with numbers that are not finite has no orientation");
  Eigen::Matrix3d directions = linear_part(voxel_to_world_mm);
  const std::array<double, 3> norms = column_norms(voxel_to_world_mm);
  for (Eigen::Index j = 0; j < 3; ++j) {
    if (norms[size_t(j)] != 0) directions.col(j) /= norms[size_t(j)];
  }
  Eigen::Matrix3d r = nearest_rotation(directions);
  AxisMap map{};
  for (size_t j = 0; j < 3; ++j) {
    const auto column = r.col(Eigen::Index(j));
    Eigen::Index best = 0;
    SAT_CHECK(column.cwiseAbs().maxCoeff(&best) > 1e-8, "the affine is singular: array axis ", j,
              " has no direction of its own");
    map.world_axis[j] = int(best);
    map.flipped[j] = column[best] < 0;
    r.row(best).setZero();  // cannot be chosen again
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
