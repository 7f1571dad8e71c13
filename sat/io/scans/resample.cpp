// Orientation and spacing of the published pipeline, in double precision and in its order of operations.
#include "sat/io/scans/resample.h"

#include <algorithm>
#include <cmath>

#include "sat/io/scans/matrix.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

using Point = std::array<double, 3>;

constexpr double kKeepSpacingMm = 1e-3;  // an axis this near its target is not resampled
constexpr double kSameAffine = 1e-3;     // absolute; affines this near count as equal
constexpr double kSameAffineRelative = 1e-5;
constexpr double kCornerTolerance = 1e-8;
constexpr int64_t kMostVoxels = int64_t(1) << 31;
constexpr double kLongestAxis = 65536;
constexpr int64_t kVoxelsAtOnce = 1 << 16;  // between two questions whether to go on, however flat the volume is

/// All zero but for the last row; the linear part is filled in by the caller.
Affine no_axes() {
  Affine map;
  for (size_t r = 0; r < 3; ++r) map.m[r] = {};
  return map;
}

/// Voxel index in the turned grid -> voxel index in the source.
Affine turned_to_source(const std::array<int64_t, 3>& source_size, const AxisOrder& order) {
  Affine map = no_axes();
  for (size_t k = 0; k < 3; ++k) {
    const size_t axis = size_t(order.from[k]);
    map.m[axis][k] = order.reversed[k] ? -1 : 1;
    map.m[axis][3] = order.reversed[k] ? double(source_size[axis] - 1) : 0;
  }
  return map;
}

/// Upper triangular U with positive diagonal and U^T U = M^T M, M the linear part: zooms and shears without rotation.
/// Cholesky row by row. Not Eigen's LLT, which adds squares before it subtracts them: other last bits, other grids.
Eigen::Matrix3d zooms_and_shears(const Affine& affine) {
  Eigen::Matrix3d left = column_products(linear_part(affine)), upper = Eigen::Matrix3d::Zero();
  for (Eigen::Index r = 0; r < 3; ++r) {
    SAT_CHECK(left(r, r) > 0, "space_grid: the scan's affine is singular, its axes span no volume");
    upper(r, r) = std::sqrt(left(r, r));
    upper.row(r).tail(2 - r) = left.row(r).tail(2 - r) / upper(r, r);
    left.noalias() -= upper.row(r).transpose() * upper.row(r);
  }
  return upper;
}

/// The linear part with shear removed and columns as long as the spacing; no translation.
Affine unsheared(const Affine& affine, const Point& spacing_mm) {
  const Eigen::Matrix3d upper = zooms_and_shears(affine);
  Eigen::Matrix3d inverse;
  for (Eigen::Index c = 0; c < 3; ++c) {  // one by one, since for several at once Eigen multiplies by reciprocals
    inverse.col(c) = upper.triangularView<Eigen::Upper>().solve(Eigen::Vector3d::Unit(c));
  }
  Affine result;
  linear_part(result) = product(linear_part(affine), inverse).array().rowwise() * array_of(spacing_mm).transpose();
  return result;
}

/// World positions of the eight corner voxels, axis 0 outermost.
std::array<Point, 8> corner_positions(const Geometry& grid) {
  std::array<Point, 8> corners;
  for (size_t i = 0; i < 8; ++i) {
    const Point index{i & 4 ? double(grid.size[0] - 1) : 0, i & 2 ? double(grid.size[1] - 1) : 0,
                      i & 1 ? double(grid.size[2] - 1) : 0};
    corners[i] = sat::apply(grid.voxel_to_world_mm, index);
  }
  return corners;
}

/// The index map A^-1 B between two grids, by elimination with row pivots. Not by Eigen's PartialPivLU, which adds up
/// what is to be subtracted: other last bits, other voxels.
Affine solve(const Affine& a, const Affine& b) {
  Eigen::Matrix<double, 3, 8> rows;
  rows << matrix_of(a).topRows<3>(), matrix_of(b).topRows<3>();
  for (Eigen::Index column = 0; column < 3; ++column) {
    bring_pivot_up(rows, column);
    SAT_CHECK(rows(column, column) != 0, "space_grid: the scan's affine is singular, its axes span no volume");
    for (Eigen::Index r = column + 1; r < 3; ++r) {
      const double factor = rows(r, column) / rows(column, column);
      rows.row(r) -= factor * rows.row(column);
    }
  }
  Affine map;
  auto x = matrix_of(map);
  x.topRows<3>() = rows.rightCols<4>();
  x.col(3).head<3>() -= rows.col(3);
  for (Eigen::Index r = 3; r-- > 0;) {
    for (Eigen::Index k = r + 1; k < 3; ++k) x.row(r) -= rows(r, k) * x.row(k);
    x.row(r) /= rows(r, r);
  }
  return map;
}

bool nearly_same(const Affine& a, const Affine& b) {
  const auto there = matrix_of(b).array();
  return ((matrix_of(a).array() - there).abs() <= kSameAffine + kSameAffineRelative * there.abs()).all();
}

/// Where the source's voxels lie in memory for a turned grid: element = base + sum over axes of index * step.
struct View {
  std::array<int64_t, 3> size{}, step{};
  int64_t base = 0;
};

View turned_view(const Tensor& source, const AxisOrder& order) {
  const std::array<int64_t, 3> steps{source.shape[1] * source.shape[2], source.shape[2], 1};
  View view;
  for (size_t k = 0; k < 3; ++k) {
    const int axis = order.from[k];
    view.size[k] = source.shape[axis];
    view.step[k] = order.reversed[k] ? -steps[size_t(axis)] : steps[size_t(axis)];
    if (order.reversed[k]) view.base += (view.size[k] - 1) * steps[size_t(axis)];
  }
  return view;
}

void copy_row(float* out, const float* row, int64_t step, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = row[i * step];
}

/// One position along one axis: the two voxels around it, as memory offsets, and the weight of the upper one.
struct Between {
  int64_t lower, upper;
  double weight;
};

Between between(double position, int64_t size, int64_t step) {
  position = std::clamp(position, 0.0, double(size - 1));
  const int64_t lower = int64_t(position);
  const int64_t upper = std::min(lower + 1, size - 1);
  return {lower * step, upper * step, position - double(lower)};
}

double trilinear(const float* source, const Between& a, const Between& b, const Between& c) {
  const auto line = [&](int64_t at) {
    return (1 - c.weight) * double(source[at + c.lower]) + c.weight * double(source[at + c.upper]);
  };
  const auto plane = [&](int64_t at) { return (1 - b.weight) * line(at + b.lower) + b.weight * line(at + b.upper); };
  return (1 - a.weight) * plane(a.lower) + a.weight * plane(a.upper);
}

}  // namespace

AxisOrder axis_order(const Affine& voxel_to_world_mm, const std::string& code) {
  constexpr std::array<const char*, 3> kLetters{"LR", "PA", "IS"};  // negative and positive end of each world axis
  const AxisMap current = closest_axes(voxel_to_world_mm);
  AxisOrder order;
  std::array<bool, 3> named{};
  SAT_CHECK(code.size() == 3, "orientation code is '", code, "', needs three letters such as RAS");
  for (size_t k = 0; k < 3; ++k) {
    size_t world = 0;
    while (world < 3 && code[k] != kLetters[world][0] && code[k] != kLetters[world][1]) ++world;
    SAT_CHECK(world < 3 && !named[world], "orientation code is '", code,
              "', needs one each of R or L, A or P, S or I, for example RAS");
    named[world] = true;
    for (size_t axis = 0; axis < 3; ++axis) {
      if (current.world_axis[axis] != int(world)) continue;
      order.from[k] = int(axis);
      order.reversed[k] = current.flipped[axis] != (code[k] == kLetters[world][0]);
    }
  }
  return order;
}

Affine source_to_turned(const std::array<int64_t, 3>& source_size, const AxisOrder& order) {
  Affine map = no_axes();
  for (size_t k = 0; k < 3; ++k) {
    const size_t axis = size_t(order.from[k]);
    map.m[k][axis] = order.reversed[k] ? -1 : 1;
    map.m[k][3] = order.reversed[k] ? double(source_size[axis] - 1) : 0;
  }
  return map;
}

Geometry reorient(const Geometry& scan, const AxisOrder& order) {
  Geometry turned;
  for (size_t k = 0; k < 3; ++k) turned.size[k] = scan.size[size_t(order.from[k])];
  turned.voxel_to_world_mm = scan.voxel_to_world_mm * turned_to_source(scan.size, order);
  auto affine = matrix_of(turned.voxel_to_world_mm);
  affine = affine.cast<float>().cast<double>();
  return turned;
}

SpacedGrid space_grid(const Geometry& source, const std::array<double, 3>& spacing_mm) {
  const Affine& affine = source.voxel_to_world_mm;
  for (const auto& row : affine.m) {
    for (double value : row) SAT_CHECK(std::isfinite(value), "space_grid: the scan's affine holds ", value);
  }
  const Point norms = column_norms(affine);
  Point target = spacing_mm;
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(std::isfinite(target[axis]) && target[axis] > 0, "space_grid: spacing is ", target[axis],
              " mm along axis ", axis, ", needs a positive length");
    SAT_CHECK(source.size[axis] >= 1, "space_grid: the scan has ", source.size[axis], " voxels along axis ", axis);
    if (std::fabs(norms[axis] - target[axis]) <= kKeepSpacingMm) target[axis] = norms[axis];
  }

  SpacedGrid grid;
  Affine& placed = grid.geometry.voxel_to_world_mm;
  placed = unsheared(affine, target);
  const Affine to_index = inverse(placed);
  const std::array<Point, 8> corners = corner_positions(source);
  std::array<Point, 8> indices;
  for (size_t i = 0; i < 8; ++i) indices[i] = sat::apply(to_index, corners[i]);
  double voxels = 1;
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto by_axis = [axis](const Point& a, const Point& b) { return a[axis] < b[axis]; };
    const auto [least, most] = std::minmax_element(indices.begin(), indices.end(), by_axis);
    const double size = std::nearbyint((*most)[axis] - (*least)[axis] + 1);
    voxels *= size;
    SAT_CHECK(size >= 1 && size <= kLongestAxis && voxels <= double(kMostVoxels), "space_grid: a scan of ",
              source.size[0], " x ", source.size[1], " x ", source.size[2], " voxels of ", norms[0], " x ", norms[1],
              " x ", norms[2], " mm would have ", size, " voxels of ", target[axis], " mm along axis ", axis,
              "; at most ", int64_t(kLongestAxis), " an axis and ", kMostVoxels, " in all fit");
    grid.geometry.size[axis] = int64_t(size);
  }

  // The origin is the first corner from which the whole scan lies in the positive directions. Differs from what one
  // would expect: the affine was rounded to float32, so an oblique scan mostly has no such corner to within 1e-8 and
  // the grids' middles are laid on each other instead. The published models were trained on these grids.
  bool found = false;
  for (size_t i = 0; i < 8 && !found; ++i) {
    found = true;
    for (size_t axis = 0; axis < 3; ++axis) {
      double least = 0;
      for (const Point& index : indices) least = std::min(least, index[axis] - indices[i][axis]);
      found = found && std::fabs(least) <= kCornerTolerance;
    }
    if (found) {
      for (size_t r = 0; r < 3; ++r) placed.m[r][3] = corners[i][r];
    }
  }
  if (!found) {
    const auto half = [](const std::array<int64_t, 3>& size) {
      return Point{double(size[0]) / 2, double(size[1]) / 2, double(size[2]) / 2};
    };
    const Point middle = sat::apply(affine, half(source.size)), offset = sat::apply(placed, half(grid.geometry.size));
    for (size_t r = 0; r < 3; ++r) placed.m[r][3] = middle[r] - offset[r];
  }

  grid.resampled = grid.geometry.size != source.size || !nearly_same(affine, placed);
  if (!grid.resampled) {
    grid.geometry = source;
    return grid;
  }
  grid.to_source = solve(affine, placed);
  grid.from_source = solve(placed, affine);
  return grid;
}

Tensor resample(const Tensor& source, const AxisOrder& order, const SpacedGrid& grid) {
  SAT_CHECK(source.shape.rank() == 3 && source.dtype == DType::f32, "resample: voxels are ", source.dtype, " ",
            source.shape, ", need f32 [H, W, D]");
  const View view = turned_view(source, order);
  const std::array<int64_t, 3>& size = grid.geometry.size;
  const float* from = source.address<float>() + view.base;
  Tensor result({size[0], size[1], size[2]});
  float* out = result.address<float>();
  const auto& x = grid.to_source.m;
  const int64_t lines_at_once = std::max<int64_t>(1, kVoxelsAtOnce / size[2]);
  parallel_for(size[0] * size[1], lines_at_once, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t h = line / size[1], w = line % size[1];
      float* row = out + line * size[2];
      if (!grid.resampled) {
        copy_row(row, from + h * view.step[0] + w * view.step[1], view.step[2], size[2]);
        continue;
      }
      Point start;
      for (size_t axis = 0; axis < 3; ++axis) start[axis] = x[axis][0] * double(h) + x[axis][1] * double(w);
      for (int64_t d = 0; d < size[2]; ++d) {
        std::array<Between, 3> at;
        for (size_t axis = 0; axis < 3; ++axis) {
          const double position = start[axis] + x[axis][2] * double(d) + x[axis][3];
          at[axis] = between(position, view.size[axis], view.step[axis]);
        }
        row[d] = float(trilinear(from, at[0], at[1], at[2]));
      }
    }
  });
  return result;
}

Tensor resample_nearest(const Tensor& source, const AxisOrder& order, const SpacedGrid& grid,
                        const std::array<std::array<int64_t, 2>, 3>& box) {
  SAT_CHECK(source.shape.rank() == 3 && source.dtype == DType::f32, "resample_nearest: voxels are ", source.dtype, " ",
            source.shape, ", need f32 [H, W, D]");
  const View view = turned_view(source, order);
  std::array<int64_t, 3> size;
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(box[axis][0] >= 0 && box[axis][0] < box[axis][1] && box[axis][1] <= grid.geometry.size[axis],
              "resample_nearest: the box goes from ", box[axis][0], " to ", box[axis][1], " of ",
              grid.geometry.size[axis], " voxels along axis ", axis);
    size[axis] = box[axis][1] - box[axis][0];
  }
  const float* from = source.address<float>() + view.base;
  Tensor result({size[0], size[1], size[2]});
  float* out = result.address<float>();
  const auto& x = grid.to_source.m;
  parallel_for(size[0] * size[1], std::max<int64_t>(1, kVoxelsAtOnce / size[2]), [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t h = box[0][0] + line / size[1], w = box[1][0] + line % size[1], d0 = box[2][0];
      float* row = out + line * size[2];
      if (!grid.resampled) {
        copy_row(row, from + h * view.step[0] + w * view.step[1] + d0 * view.step[2], view.step[2], size[2]);
        continue;
      }
      for (int64_t d = 0; d < size[2]; ++d) {
        int64_t at = 0;
        for (size_t axis = 0; axis < 3; ++axis) {
          const double position =
              x[axis][0] * double(h) + x[axis][1] * double(w) + x[axis][2] * double(d0 + d) + x[axis][3];
          at += int64_t(std::nearbyint(std::clamp(position, 0.0, double(view.size[axis] - 1)))) * view.step[axis];
        }
        row[d] = from[at];
      }
    }
  });
  return result;
}

}  // namespace sat
