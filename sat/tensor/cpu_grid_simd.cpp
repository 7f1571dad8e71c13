// Score accumulation on the CPU, vector form: a blocked product of voxels and masks, whose results are squashed and
// added to the scores as they come.
#include "sat/tensor/kernels.h"
#include "sat/tensor/product.h"

namespace sat::cpu {

namespace {

/// The voxels of a score region as rows of a product.
struct RegionRows {
  const float* features;
  const ScoreSizes& sizes;
  const ScoreRegion& region;

  struct Group {
    const RegionRows& rows;
    int64_t count;
    std::array<int64_t, 3> voxels[kGroupRows];  // within the region

    Group(const RegionRows& from, int64_t first, int64_t row_count) : rows(from), count(row_count) {
      const int64_t W = rows.region.size[1], D = rows.region.size[2];
      std::array<int64_t, 3> at = {first / D / W, first / D % W, first % D};
      for (int64_t row = 0; row < count; ++row) {
        voxels[row] = at;
        if (++at[2] < D) continue;
        at[2] = 0;
        if (++at[1] < W) continue;
        at[1] = 0;
        ++at[0];
      }
    }

    /// Which element of a [size] array the row's voxel is, where the region begins at `first`.
    int64_t index(int64_t row, const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& first) const {
      const auto& v = voxels[row];
      return ((first[0] + v[0]) * size[1] + first[1] + v[1]) * size[2] + first[2] + v[2];
    }

    void point(const float** pointers, int64_t row, const Terms& terms) const {
      for (int64_t r = 0; r < kTileRows; ++r) {
        pointers[r] = kZeros;
        if (row + r >= count) continue;
        const int64_t voxel = index(row + r, rows.sizes.features, rows.region.in_features);
        pointers[r] = rows.features + voxel * rows.sizes.channels + terms.channel;
      }
    }
  };
};

}  // namespace

void simd_accumulate_mask_scores(const Simd& simd, float* scores, const float* features, const float* mask_panels,
                                 const float* importance, const ScoreSizes& sizes, const ScoreRegion& region) {
  const int64_t rows = region.size[0] * region.size[1] * region.size[2];
  const Product product{mask_panels, rows, 1, sizes.prompts, {sizes.channels, 0}};
  const auto finish = [&](const RegionRows::Group& group, int64_t row, int64_t first, int64_t outputs,
                          const float* logits) {
    float* to = scores + group.index(row, sizes.scores, region.in_scores) * sizes.prompts + first;
    const float weight = importance[group.index(row, sizes.importance, region.in_importance)];
    simd.add_squashed(to, logits, weight, outputs);
  };
  run_product(simd, product, RegionRows{features, sizes, region}, finish);
}

}  // namespace sat::cpu
