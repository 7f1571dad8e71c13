// Pooling and scores on the CPU. The vector form of mask scores brings a few voxels' features into the cache, final,
// and every prompt's mask passes over them there; in fast precision on processors with matrix units by tiles.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sat/tensor/cpu/amx/dense.h"
#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/cpu/matrix.h"
#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/ops/score_sizes.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kDivideGrain = 1 << 12;  // voxels a piece

/// One sample.
void avg_pool(float* y, const FeatureReader& x, std::array<int64_t, 3> out_size, int64_t k) {
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

void plain_mask_scores(float* scores, const FeatureReader& features, const float* mask_panels, const float* importance,
                       const ScoreSizes& sizes, const ScoreRegion& region) {
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

constexpr int64_t kGroupVoxels = 96;     // 24 KB of 64 channels: half of the L1 cache, weights being the rest
constexpr int64_t kEnoughChannels = 32;  // a whole step of the tiles
constexpr int64_t kChunkSteps = 12;      // of 32 channels: 24 KB of masks, half of the L1 cache

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

void vector_mask_scores(const Simd& simd, float* scores, const FeatureReader& features, const float* mask_panels,
                        const float* importance, const ScoreSizes& sizes, const ScoreRegion& region) {
  const int64_t channels = sizes.channels, panels = divide_up(sizes.prompts, kPanel);
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
          avx2::add_tanh_half(to, logits + r * some * kPanel, group.importance[row + r], prompts);
        }
      }
    }
  });
}

void tile_mask_scores(const AmxLoops& tiles, float* scores, const FeatureReader& features, const Tensor& panels,
                      const float* importance, const ScoreSizes& sizes, const ScoreRegion& region) {
  const int64_t steps = panels.shape[1], row_blocks = divide_up(kGroupVoxels, kAmxBlock);
  const int64_t sums = 2 * row_blocks * kAmxRowsStep;
  Workspace workspace(sums + row_blocks * steps * kAmxRowsStep / 2);
  parallel_for(region.size[0] * region.size[1] * region.size[2], kGroupVoxels, [&](int64_t first, int64_t last) {
    const VoxelGroup group(first, last - first, features, importance, sizes, region);
    Workspace::Use room(workspace);
    float* places[kGroupVoxels];
    for (int64_t row = 0; row < last - first; ++row) places[row] = scores + group.place[row] * sizes.prompts;
    AmxScores piece{};
    piece.x = group.features.data();
    piece.rows = last - first;
    piece.in = sizes.channels;
    piece.out = sizes.prompts;
    piece.steps = steps;
    piece.chunk = divide_up(steps, divide_up(steps, kChunkSteps));
    piece.panels = static_cast<const uint16_t*>(panels.raw());
    piece.last_block = panels.shape[0];
    piece.sums = room.data();
    piece.rounded = reinterpret_cast<uint16_t*>(room.data() + sums);
    piece.places = places;
    piece.importance = group.importance;
    tiles.scores(piece);
  });
}

}  // namespace

void CpuBackend::avg_pool3d(Tensor& y, const Features& x, int64_t k) {
  const int64_t per_sample = y.numel() / std::max<int64_t>(1, y.shape[0]);
  for (int64_t b = 0; b < y.shape[0]; ++b) {
    avg_pool(y.address<float>() + b * per_sample, FeatureReader(x, b), grid_of(y.shape, 1), k);
  }
}

void CpuBackend::accumulate_mask_scores(Tensor& scores, const Features& features, const Tensor& masks,
                                        const Tensor& importance, const ScoreRegion& region) {
  const ScoreSizes sizes{grid_of(scores.shape), grid_of(features.values.shape, 1), grid_of(importance.shape),
                         masks.shape[1], masks.shape[0]};
  const FeatureReader reader(features);
  float* to = scores.address<float>();
  const float* weights = importance.address<float>();
  // Chosen by the channels alone: a prompt's scores do not depend on how many others there are.
  const AmxLoops* tiles = Context::current().precision() == Precision::fast ? amx_loops() : nullptr;
  if (tiles && sizes.channels >= kEnoughChannels) {
    return tile_mask_scores(*tiles, to, reader, pack_amx_linear(masks), weights, sizes, region);
  }
  const Tensor panels = packed_panels(masks);
  const float* mask_panels = panels.address<float>();
  if (const Simd* simd = current_simd()) {
    return vector_mask_scores(*simd, to, reader, mask_panels, weights, sizes, region);
  }
  plain_mask_scores(to, reader, mask_panels, weights, sizes, region);
}

void CpuBackend::accumulate_importance(Tensor& weights, const Tensor& importance, const ScoreRegion& region) {
  const std::array<int64_t, 3> to_size = grid_of(weights.shape), from_size = grid_of(importance.shape);
  float* to = weights.address<float>();
  const float* from = importance.address<float>();
  parallel_for(region.size[0] * region.size[1], std::max<int64_t>(1, region.size[1]), [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t h = line / region.size[1], w = line % region.size[1];
      const auto line_of = [&](const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& start) {
        return ((start[0] + h) * size[1] + start[1] + w) * size[2] + start[2];
      };
      float* sum = to + line_of(to_size, region.in_scores);
      const float* share = from + line_of(from_size, region.in_importance);
      for (int64_t d = 0; d < region.size[2]; ++d) sum[d] += share[d];
    }
  });
}

void CpuBackend::divide_rows(Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) {
  int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= weights.shape[a];
  for (int a = axis + 1; a < 3; ++a) inner *= weights.shape[a];
  const int64_t rows = weights.shape[axis], width = scores.shape[3], span = (last - first) * inner;
  float* values = scores.address<float>();
  const float* by = weights.address<float>();
  parallel_for(outer * span, kDivideGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t voxel = (i / span * rows + first) * inner + i % span;
      float* row = values + voxel * width;
      for (int64_t n = 0; n < width; ++n) row[n] /= by[voxel];
    }
  });
}

}  // namespace sat::cpu
