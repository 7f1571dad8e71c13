// Pooling and score accumulation on voxel grids: checks and allocation.
#include "sat/tensor/accelerator.h"
#include "sat/tensor/cpu/feature_reader.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/profile.h"

namespace sat {

Tensor avg_pool3d(const Features& x, int64_t k) {
  const Shape& shape = x.values.shape;
  SAT_CHECK(shape.rank() == 5, "avg_pool3d: x has shape ", shape, ", needs [B, H, W, D, C]");
  SAT_CHECK(k >= 1 && shape[1] % k == 0 && shape[2] % k == 0 && shape[3] % k == 0, "avg_pool3d: x of shape ", shape,
            " does not divide into ", k, " x ", k, " x ", k, " blocks");
  profile::Range range("avg_pool3d", shape);
  Tensor y({shape[0], shape[1] / k, shape[2] / k, shape[3] / k, shape[4]}, DType::f32, x.values.device);
  if (y.device == Device::cuda) {
    accelerator().avg_pool3d(y, x, k);
    return y;
  }
  for (int64_t b = 0; b < shape[0]; ++b) {
    const Tensor sample = y.slice(b, b + 1);
    cpu::avg_pool3d(sample.data<float>(), cpu::FeatureReader(x, b), {y.shape[1], y.shape[2], y.shape[3]}, k);
  }
  return y;
}

namespace {

void check_region(const char* name, const ScoreRegion& region, const Shape& scores, const Shape& features,
                  const Shape& importance) {
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t size = region.size[size_t(axis)];
    const auto inside = [&](int64_t first, int64_t all) { return first >= 0 && first + size <= all; };
    SAT_CHECK(size >= 0 && inside(region.in_scores[size_t(axis)], scores[axis]) &&
                  inside(region.in_features[size_t(axis)], features[axis]) &&
                  inside(region.in_importance[size_t(axis)], importance[axis]),
              name, ": a region of ", size, " voxels on axis ", axis, " leaves scores ", scores, ", features ",
              features, " or importance ", importance);
  }
}

}  // namespace

void accumulate_mask_scores(const Tensor& scores, const Features& features, const PackedMatrix& masks,
                            const Tensor& importance, const ScoreRegion& region) {
  const Shape& grid = features.values.shape;
  SAT_CHECK(scores.shape.rank() == 4 && grid.rank() == 5 && importance.shape.rank() == 3 &&
                scores.shape[3] == masks.out && grid[0] == 1 && grid[4] == masks.in,
            "accumulate_mask_scores: scores ", scores.shape, ", features ", grid, ", importance ", importance.shape,
            ", masks [", masks.out, ", ", masks.in, "]");
  for (const Tensor* norm : {&features.center, &features.factor, &features.shift}) {
    SAT_CHECK(norm->empty() == features.center.empty() && (norm->empty() || norm->shape == Shape({1, masks.in})),
              "accumulate_mask_scores: a norm of shape ", norm->shape, " is pending, needs [1, ", masks.in, "]");
  }
  check_region("accumulate_mask_scores", region, scores.shape, grid.drop_front(), importance.shape);
  profile::Range range("accumulate_mask_scores", grid);
  if (scores.device == Device::cuda)
    return accelerator().accumulate_mask_scores(scores, features, masks, importance, region);
  cpu::ScoreSizes sizes{};
  sizes.channels = masks.in;
  sizes.prompts = masks.out;
  for (int axis = 0; axis < 3; ++axis) {
    sizes.scores[size_t(axis)] = scores.shape[axis];
    sizes.features[size_t(axis)] = grid[axis + 1];
    sizes.importance[size_t(axis)] = importance.shape[axis];
  }
  cpu::accumulate_mask_scores(scores.data<float>(), cpu::FeatureReader(features), masks.panels.data<float>(),
                              importance.data<float>(), sizes, region);
}

}  // namespace sat
