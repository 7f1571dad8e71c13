// Score accumulation on the CPU, vector form: a few voxels' features are brought into the cache, final, and every
// prompt's mask passes over them there.
#include <algorithm>
#include <vector>

#include "sat/tensor/cpu/feature_reader.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/cpu/vector/product.h"

namespace sat::cpu {

namespace {

constexpr int64_t kGroupVoxels = 96;  // 24 KB of 64 channels: half of the first-level cache, weights being the rest

/// Some voxels of a score region: their features, their importance, and where their scores lie.
struct VoxelGroup {
  std::vector<float> features;  // [count, channels]
  float importance[kGroupVoxels];
  int64_t place[kGroupVoxels];  // voxels before it in the scores

  VoxelGroup(int64_t first, int64_t count, const FeatureReader& from, const float* importance_map,
             const ScoreSizes& sizes, const ScoreRegion& region)
      : features(size_t(count * sizes.channels)) {
    const int64_t W = region.size[1], D = region.size[2];
    for (int64_t row = 0; row < count;) {
      const int64_t voxel = first + row;
      const std::array<int64_t, 3> at = {voxel / D / W, voxel / D % W, voxel % D};
      const auto index = [&](const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& start) {
        return ((start[0] + at[0]) * size[1] + start[1] + at[1]) * size[2] + start[2] + at[2];
      };
      const int64_t run = std::min(count - row, D - at[2]);
      from.read(features.data() + row * sizes.channels, index(sizes.features, region.in_features), run);
      std::copy_n(importance_map + index(sizes.importance, region.in_importance), run, importance + row);
      for (int64_t i = 0; i < run; ++i) place[row + i] = index(sizes.scores, region.in_scores) + i;
      row += run;
    }
  }
};

}  // namespace

void simd_accumulate_mask_scores(const Simd& simd, float* scores, const FeatureReader& features,
                                 const float* mask_panels, const float* importance, const ScoreSizes& sizes,
                                 const ScoreRegion& region) {
  const int64_t channels = sizes.channels, panels = pieces(sizes.prompts, kPanel);
  // The order of terms must not depend on how many prompts there are: it is that of one panel.
  const std::vector<Terms> order = order_of_terms({mask_panels, 1, 1, kPanel, {channels, 0}});
  parallel_for(region.size[0] * region.size[1] * region.size[2], kGroupVoxels, [&](int64_t first, int64_t last) {
    const int64_t count = last - first;
    const VoxelGroup group(first, count, features, importance, sizes, region);
    alignas(64) float logits[kTileRows * kTilePanels * kPanel];
    const float* rows[kTileRows];
    for (int64_t panel = 0; panel < panels; panel += kTilePanels) {
      const int64_t some = std::min(kTilePanels, panels - panel), prompt = panel * kPanel;
      const int64_t prompts = std::min(some * kPanel, sizes.prompts - prompt);
      for (int64_t row = 0; row < count; row += kTileRows) {
        const int64_t height = std::min(kTileRows, count - row);
        for (const Terms& terms : order) {
          for (int64_t r = 0; r < kTileRows; ++r) {
            rows[r] = r < height ? group.features.data() + (row + r) * channels + terms.channel : kZeros;
          }
          const float* weights = mask_panels + (panel * channels + terms.channel) * kPanel;
          simd.tile(logits, rows, {weights, 1, channels * kPanel, terms.channels, some, channels * kPanel},
                    &terms == order.data());
        }
        for (int64_t r = 0; r < height; ++r) {
          float* to = scores + group.place[row + r] * sizes.prompts + prompt;
          simd.add_squashed(to, logits + r * some * kPanel, group.importance[row + r], prompts);
        }
      }
    }
  });
}

}  // namespace sat::cpu
