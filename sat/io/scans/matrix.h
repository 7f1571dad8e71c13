// Private to the sources of sat/io: our arrays as Eigen's matrices, and what is computed with them in a fixed order. No
// header includes this, so that nobody who includes a header of sat needs Eigen.
// Eigen adds the terms of a product or a norm in an order that depends on the instruction set, and grids are rounded to
// whole voxels: where a sum may decide, it is product() that adds.
#pragma once

#include <Eigen/Core>

#include "sat/io/scans/volume.h"

namespace sat {

using Matrix4View = Eigen::Map<Eigen::Matrix<double, 4, 4, Eigen::RowMajor>>;
using ConstMatrix4View = Eigen::Map<const Eigen::Matrix<double, 4, 4, Eigen::RowMajor>>;
static_assert(sizeof(Affine) == 16 * sizeof(double), "the rows of an affine follow each other");

inline Matrix4View matrix_of(Affine& a) { return Matrix4View(a.m.front().data()); }
inline ConstMatrix4View matrix_of(const Affine& a) { return ConstMatrix4View(a.m.front().data()); }

/// What turns, scales and shears: the affine without its translation.
inline auto linear_part(Affine& a) { return matrix_of(a).topLeftCorner<3, 3>(); }
inline auto linear_part(const Affine& a) { return matrix_of(a).topLeftCorner<3, 3>(); }

inline Eigen::Map<const Eigen::Array3d> array_of(const std::array<double, 3>& values) {
  return Eigen::Map<const Eigen::Array3d>(values.data());
}

/// a b, where every sum adds its terms from the first to the last to 0, so that none is -0.
template <class A, class B>
Eigen::Matrix<double, A::RowsAtCompileTime, B::ColsAtCompileTime> product(const A& a, const B& b) {
  Eigen::Matrix<double, A::RowsAtCompileTime, B::ColsAtCompileTime> sum;
  sum.setZero();
  for (Eigen::Index k = 0; k < a.cols(); ++k) sum.noalias() += a.col(k) * b.row(k);
  return sum;
}

/// The scalar product of each two columns; on the diagonal the squares of their lengths.
template <class A>
auto column_products(const A& a) {
  return product(a.transpose(), a);
}

/// A step of an elimination: brings the row up whose number in `column` is the largest from the diagonal downwards.
template <class Rows>
void bring_pivot_up(Rows& rows, Eigen::Index column) {
  Eigen::Index below = 0;
  rows.col(column).tail(rows.rows() - column).cwiseAbs().maxCoeff(&below);
  rows.row(column).swap(rows.row(column + below));
}

}  // namespace sat
