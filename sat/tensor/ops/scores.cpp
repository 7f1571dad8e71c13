// Pooling, and scores on voxel grids.
#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

/// Throws Error where a box of `size` voxels from `first` on leaves a grid whose axes begin at `axis`.
void check_box(const char* op, const char* what, const std::array<int64_t, 3>& first,
               const std::array<int64_t, 3>& size, const Shape& grid, int axis) {
  for (size_t a = 0; a < 3; ++a) {
    SAT_CHECK(size[a] >= 0 && first[a] >= 0 && first[a] + size[a] <= grid[axis + int(a)], op, ": a region of ", size[a],
              " voxels from ", first[a], " on axis ", a, " leaves ", what, " ", grid);
  }
}

}  // namespace

Tensor avg_pool3d(const Features& x, int64_t k) {
  const Shape& shape = x.values.shape;
  SAT_CHECK(shape.rank() == 5, "avg_pool3d: x has shape ", shape, ", needs [B, H, W, D, C]");
  SAT_CHECK(k >= 1 && shape[1] % k == 0 && shape[2] % k == 0 && shape[3] % k == 0, "avg_pool3d: x of shape ", shape,
            " does not divide into ", k, " x ", k, " x ", k, " blocks");
  Backend& backend = check_features("avg_pool3d", x);
  profile::Range range("avg_pool3d", shape);
  Tensor y({shape[0], shape[1] / k, shape[2] / k, shape[3] / k, shape[4]}, DType::f32, x.values.device);
  backend.avg_pool3d(y, x, k);
  if (Tape* tape = following({&x.values})) tape->record("avg_pool3d", y, avg_pool3d_gradient(x, k));
  return y;
}

void accumulate_mask_scores(Tensor& scores, const Features& features, const Tensor& masks, const Tensor& importance,
                            const ScoreRegion& region) {
  constexpr const char* kOp = "accumulate_mask_scores";
  const Shape& grid = features.values.shape;
  SAT_CHECK(scores.shape.rank() == 4 && grid.rank() == 5 && importance.shape.rank() == 3 && masks.shape.rank() == 2 &&
                scores.shape[3] == masks.shape[0] && grid[0] == 1 && grid[4] == masks.shape[1],
            kOp, ": scores ", scores.shape, ", features ", grid, ", importance ", importance.shape, ", masks ",
            masks.shape);
  check_box(kOp, "scores", region.in_scores, region.size, scores.shape, 0);
  check_box(kOp, "features", region.in_features, region.size, grid, 1);
  check_box(kOp, "importance", region.in_importance, region.size, importance.shape, 0);
  refuse_history(kOp, {&scores, &features.values, &masks, &importance});
  check_f32(kOp, {&scores, &masks, &importance});
  check_features(kOp, features);
  Backend& backend = backend_of(kOp, {&scores, &features.values, &masks, &importance});
  profile::Range range(kOp, grid);
  backend.accumulate_mask_scores(scores, features, masks, importance, region);
}

void accumulate_importance(Tensor& weights, const Tensor& importance, const ScoreRegion& region) {
  constexpr const char* kOp = "accumulate_importance";
  SAT_CHECK(weights.shape.rank() == 3 && importance.shape.rank() == 3, kOp, ": weights ", weights.shape,
            ", importance ", importance.shape, ", need three axes");
  check_box(kOp, "weights", region.in_scores, region.size, weights.shape, 0);
  check_box(kOp, "importance", region.in_importance, region.size, importance.shape, 0);
  refuse_history(kOp, {&weights, &importance});
  check_f32(kOp, {&weights, &importance});
  Backend& backend = backend_of(kOp, {&weights, &importance});
  profile::Range range(kOp, weights.shape);
  backend.accumulate_importance(weights, importance, region);
}

void divide_rows(Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) {
  constexpr const char* kOp = "divide_rows";
  SAT_CHECK(scores.shape.rank() == 4 && weights.shape.rank() == 3 && axis >= 0 && axis < 3 &&
                scores.shape.with(3, 1) == Shape({weights.shape[0], weights.shape[1], weights.shape[2], 1}),
            kOp, ": scores ", scores.shape, ", weights ", weights.shape, ", axis ", axis);
  SAT_CHECK(0 <= first && first <= last && last <= weights.shape[axis], kOp, ": rows [", first, ", ", last, ") of ",
            weights.shape);
  refuse_history(kOp, {&scores, &weights});
  check_f32(kOp, {&scores, &weights});
  Backend& backend = backend_of(kOp, {&scores, &weights});
  profile::Range range(kOp, scores.shape);
  backend.divide_rows(scores, weights, axis, first, last);
}

}  // namespace sat
