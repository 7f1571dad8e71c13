// Pooling and score accumulation on the CPU, plain form.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/feature_reader.h"
#include "sat/tensor/cpu/kernels.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

void avg_pool3d(float* y, const FeatureReader& x, std::array<int64_t, 3> out_size, int64_t k) {
  const auto [OH, OW, OD] = out_size;
  const int64_t W = OW * k, D = OD * k, channels = x.channels();
  parallel_for(OH * OW, 1, [&, OW = OW, OD = OD](int64_t line, int64_t) {
    const int64_t oh = line / OW, ow = line % OW;
    const auto width = size_t(OD * channels);
    std::vector<float> voxels(size_t(D * channels)), plane(width);
    float* to = y + line * OD * channels;
    std::fill_n(to, width, 0.f);
    for (int64_t a = 0; a < k; ++a) {  // rows, then planes: no f32 sum is longer than k
      std::fill(plane.begin(), plane.end(), 0.f);
      for (int64_t b = 0; b < k; ++b) {
        x.read(voxels.data(), ((oh * k + a) * W + ow * k + b) * D, D);
        for (int64_t od = 0; od < OD; ++od) {
          float* row = voxels.data() + od * k * channels;  // summed in place
          for (int64_t c = 1; c < k; ++c) {
            for (int64_t i = 0; i < channels; ++i) row[i] += row[c * channels + i];
          }
          for (int64_t i = 0; i < channels; ++i) plane[size_t(od * channels + i)] += row[i];
        }
      }
      for (size_t i = 0; i < width; ++i) to[i] += plane[i];
    }
    for (size_t i = 0; i < width; ++i) to[i] /= float(k * k * k);
  });
}

void accumulate_mask_scores(float* scores, const FeatureReader& features, const float* mask_panels,
                            const float* importance, const ScoreSizes& sizes, const ScoreRegion& region) {
  if (const Simd* simd = current_simd()) {
    return simd_accumulate_mask_scores(*simd, scores, features, mask_panels, importance, sizes, region);
  }
  const auto index = [](const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& first, int64_t h, int64_t w,
                        int64_t d) { return ((first[0] + h) * size[1] + first[1] + w) * size[2] + first[2] + d; };
  parallel_for(region.size[0] * region.size[1], 1, [&](int64_t line, int64_t) {
    const int64_t h = line / region.size[1], w = line % region.size[1];
    std::vector<float> values(size_t(region.size[2] * sizes.channels));
    features.read(values.data(), index(sizes.features, region.in_features, h, w, 0), region.size[2]);
    for (int64_t d = 0; d < region.size[2]; ++d) {
      const float* feature = values.data() + d * sizes.channels;
      const float weight = importance[index(sizes.importance, region.in_importance, h, w, d)];
      float* score = scores + index(sizes.scores, region.in_scores, h, w, d) * sizes.prompts;
      for (int64_t n = 0; n < sizes.prompts; ++n) {
        const float* mask = mask_panels + n / 16 * sizes.channels * 16 + n % 16;
        float logit = 0;
        for (int64_t c = 0; c < sizes.channels; ++c) logit += feature[c] * mask[c * 16];
        score[n] += weight * std::tanh(0.5f * logit);
      }
    }
  });
}

}  // namespace sat::cpu
