// Pooling and score accumulation on voxel grids: checks and allocation.
#include "sat/tensor/feature_reader.h"
#include "sat/tensor/kernels.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/profile.h"

namespace sat {

Tensor avg_pool3d(const Features& x, int64_t k) {
  const Shape& shape = x.values.shape;
  SAT_CHECK(shape.rank() == 5, "avg_pool3d: x has shape ", shape, ", needs [B, H, W, D, C]");
  SAT_CHECK(k >= 1 && shape[1] % k == 0 && shape[2] % k == 0 && shape[3] % k == 0, "avg_pool3d: x of shape ", shape,
            " does not divide into ", k, " x ", k, " x ", k, " blocks");
  profile::Range range("avg_pool3d", shape);
  Tensor y({shape[0], shape[1] / k, shape[2] / k, shape[3] / k, shape[4]});
  for (int64_t b = 0; b < shape[0]; ++b) {
    const Tensor sample = y.slice(b, b + 1);
    cpu::avg_pool3d(sample.data<float>(), cpu::FeatureReader(x, b), {y.shape[1], y.shape[2], y.shape[3]}, k);
  }
  return y;
}

void accumulate_mask_scores(const Tensor& scores, const Tensor& features, const PackedMatrix& masks,
                            const Tensor& importance, const ScoreRegion& region) {
  SAT_CHECK(scores.shape.rank() == 4 && features.shape.rank() == 4 && importance.shape.rank() == 3 &&
                scores.shape[3] == masks.out && features.shape[3] == masks.in,
            "accumulate_mask_scores: scores ", scores.shape, ", features ", features.shape, ", importance ",
            importance.shape, ", masks [", masks.out, ", ", masks.in, "]");
  cpu::ScoreSizes sizes{};
  sizes.channels = masks.in;
  sizes.prompts = masks.out;
  for (int axis = 0; axis < 3; ++axis) {
    const auto a = size_t(axis);
    sizes.scores[a] = scores.shape[axis];
    sizes.features[a] = features.shape[axis];
    sizes.importance[a] = importance.shape[axis];
    const auto inside = [&](int64_t first, int64_t size) { return first >= 0 && first + region.size[a] <= size; };
    SAT_CHECK(region.size[a] >= 0 && inside(region.in_scores[a], sizes.scores[a]) &&
                  inside(region.in_features[a], sizes.features[a]) &&
                  inside(region.in_importance[a], sizes.importance[a]),
              "accumulate_mask_scores: a region of ", region.size[a], " voxels on axis ", axis, " leaves scores ",
              scores.shape, ", features ", features.shape, " or importance ", importance.shape);
  }
  profile::Range range("accumulate_mask_scores", features.shape);
  cpu::accumulate_mask_scores(scores.data<float>(), features.data<float>(), masks.panels.data<float>(),
                              importance.data<float>(), sizes, region);
}

}  // namespace sat
