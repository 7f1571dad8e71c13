// The mask loss on the CPU: logits of some voxels at a time, which are made again for the gradient. The vector form
// takes the prompts in panels of 16, and its products by register tiles.
#include <algorithm>
#include <cmath>

#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/cpu/gradient/conv/outer_product.h"
#include "sat/tensor/cpu/gradient/mask_loops.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kVoxels = 64;      // whose logits are made in one go
constexpr int64_t kPiece = 96 * 64;  // voxels whose sums are taken by one thread

/// Some voxels of a sample: their features, and what each prompt is wanted to be there.
struct MaskBlock {
  const FeatureReader& reader;
  const float* masks;      // [N, C]
  const uint8_t* bits;     // [voxels, ceil(N / 8)]
  int64_t prompts, bytes;  // of a voxel's bits
  std::vector<float> features, logits;

  MaskBlock(const FeatureReader& features_of, const float* mask_rows, const uint8_t* wanted, int64_t count)
      : reader(features_of),
        masks(mask_rows),
        bits(wanted),
        prompts(count),
        bytes((count + 7) / 8),
        features(size_t(kVoxels * features_of.channels())),
        logits(size_t(kVoxels * count)) {}

  void load(int64_t voxel, int64_t count) {
    const int64_t channels = reader.channels();
    reader.read(features.data(), voxel, count);
    for (int64_t v = 0; v < count; ++v) {
      for (int64_t n = 0; n < prompts; ++n) {
        float sum = 0;
        for (int64_t c = 0; c < channels; ++c) sum += features[size_t(v * channels + c)] * masks[n * channels + c];
        logits[size_t(v * prompts + n)] = sum;
      }
    }
  }
  bool wanted(int64_t voxel, int64_t n) const { return (bits[voxel * bytes + n / 8] >> (n % 8) & 1) != 0; }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

using Sums = std::array<double, 4>;

/// One sample's sums by the definition.
void plain_sums(Sums* part, MaskBlock& block, int64_t first, int64_t last) {
  for (int64_t voxel = first; voxel < last; voxel += kVoxels) {
    const int64_t count = std::min(kVoxels, last - voxel);
    block.load(voxel, count);
    for (int64_t i = 0; i < count * block.prompts; ++i) {
      const double logit = double(block.logits[size_t(i)]), p = sigmoid(logit);
      const double t = block.wanted(voxel + i / block.prompts, i % block.prompts) ? 1 : 0;
      Sums& sum = part[i % block.prompts];
      sum[0] += p * t;
      sum[1] += p * p;
      sum[2] += t;
      sum[3] += std::max(logit, 0.) - logit * t + std::log1p(std::exp(-std::abs(logit)));
    }
  }
}

/// One sample's gradients by the definition: `to` may be null, `part` [N, C] is added to.
void plain_gradient(float* to, bool add, double* part, const float* k, MaskBlock& block, int64_t first, int64_t last) {
  const int64_t channels = block.reader.channels();
  for (int64_t voxel = first; voxel < last; voxel += kVoxels) {
    const int64_t count = std::min(kVoxels, last - voxel);
    block.load(voxel, count);
    for (int64_t v = 0; v < count; ++v) {
      float* out = to ? to + (voxel + v) * channels : nullptr;
      if (out && !add) std::fill_n(out, channels, 0.f);
      for (int64_t n = 0; n < block.prompts; ++n) {
        const double p = sigmoid(double(block.logits[size_t(v * block.prompts + n)]));
        const double t = block.wanted(voxel + v, n) ? 1 : 0;
        const auto d =
            float(p * (1 - p) * (double(k[3 * n]) * t + double(k[3 * n + 1]) * p) + double(k[3 * n + 2]) * (p - t));
        for (int64_t c = 0; c < channels; ++c) {
          part[n * channels + c] += double(d) * double(block.features[size_t(v * channels + c)]);
          if (out) out[c] += d * block.masks[n * channels + c];
        }
      }
    }
  }
}

constexpr int64_t kRun = 16 * kTileRows;          // voxels whose sums are taken in f32
constexpr int64_t kGroup = kTilePanels * kPanel;  // channels of a tile

/// A sample's masks as the register tiles read them, a panel of 16 prompts at a time; channels a multiple of 16.
struct MaskPanels {
  int64_t prompts, channels, panels;
  std::vector<float> columns, rows;  // of each panel [C, 16]; and of each 64 channels of a panel, the masks' rows

  MaskPanels(const float* masks, int64_t count, int64_t width)
      : prompts(count),
        channels(width),
        panels(divide_up(count, kMaskPanel)),
        columns(size_t(panels * width * kMaskPanel)),
        rows(columns.size()) {
    for (int64_t n = 0; n < count; ++n) {
      const int64_t panel = n / kMaskPanel * width * kMaskPanel, lane = n % kMaskPanel;
      for (int64_t c = 0; c < width; ++c) {
        columns[size_t(panel + c * kMaskPanel + lane)] = masks[n * width + c];
        const int64_t group = c / kGroup * kGroup, across = std::min(kGroup, width - group);
        rows[size_t(panel + group * kMaskPanel + lane * across + c - group)] = masks[n * width + c];
      }
    }
  }

  int64_t prompts_of(int64_t panel) const { return std::min(kMaskPanel, prompts - panel * kMaskPanel); }

  /// logits [kRun, 16] of one panel, from features [kRun, C].
  void logits(float* to, const Simd& simd, const float* features, int64_t panel) const {
    const TileWeights weights{columns.data() + panel * channels * kMaskPanel, 1, 0, channels, 1, 0};
    for (int64_t row = 0; row < kRun; row += kTileRows) {
      const float* from[kTileRows];
      for (int64_t r = 0; r < kTileRows; ++r) from[r] = features + (row + r) * channels;
      simd.tile(to + row * kMaskPanel, from, weights, true);
    }
  }

  /// gradient [kRun, C] = slopes [kRun, 16] * masks of one panel, or += where not `afresh`.
  void back(float* gradient, bool afresh, const Simd& simd, const float* slopes, int64_t panel) const {
    for (int64_t c = 0; c < channels; c += kGroup) {
      const float* masks = rows.data() + (panel * channels + c) * kMaskPanel;
      const StreamWeights weights{masks, prompts_of(panel), std::min(kGroup, channels - c) / kPanel, masks};
      for (int64_t row = 0; row < kRun; row += kTileRows) {
        const float* from[kTileRows];
        for (int64_t r = 0; r < kTileRows; ++r) from[r] = slopes + (row + r) * kMaskPanel;
        const TileTarget target{gradient + row * channels + c, channels, 1, afresh};
        simd.tile_onto(&target, 1, from, weights);
      }
    }
  }
};

MaskBits bits_of(const uint8_t* bits, int64_t bytes, int64_t voxel, int64_t panel) {
  return {bits + voxel * bytes + 2 * panel, bytes, std::min<int64_t>(2, bytes - 2 * panel)};
}

void vector_sums(Sums* part, const MaskPanels& masks, const FeatureReader& reader, const uint8_t* bits,
                 const Simd& simd, int64_t first, int64_t last) {
  std::vector<float> features(size_t(kRun * masks.channels)), logits(size_t(kRun * kMaskPanel));
  for (int64_t voxel = first; voxel < last; voxel += kRun) {
    const int64_t count = std::min(kRun, last - voxel);
    reader.read(features.data(), voxel, count);
    for (int64_t panel = 0; panel < masks.panels; ++panel) {
      float sums[4 * kMaskPanel] = {};
      masks.logits(logits.data(), simd, features.data(), panel);
      avx2::add_mask_sums(sums, logits.data(), bits_of(bits, divide_up(masks.prompts, 8), voxel, panel), count);
      for (int64_t i = 0; i < 4 * masks.prompts_of(panel); ++i) {
        part[panel * kMaskPanel + i / 4][size_t(i % 4)] += double(sums[i % 4 * kMaskPanel + i / 4]);
      }
    }
  }
}

/// k [panels, 3, 16].
void vector_gradient(float* to, bool add, double* part, const std::vector<float>& k, const MaskPanels& masks,
                     const FeatureReader& reader, const uint8_t* bits, const Simd& simd, OuterProduct outer,
                     int64_t first, int64_t last) {
  const int64_t channels = masks.channels;
  std::vector<float> features(size_t(kRun * channels)), slopes(size_t(kRun * kMaskPanel)), gradient(features.size());
  std::vector<float> sums(size_t(kMaskPanel * channels));
  std::vector<int32_t> slope_at(static_cast<size_t>(kRun)), feature_at(slope_at.size());
  for (int64_t v = 0; v < kRun; ++v) {
    slope_at[size_t(v)] = int32_t(v * kMaskPanel);
    feature_at[size_t(v)] = int32_t(v * channels);
  }
  for (int64_t voxel = first; voxel < last; voxel += kRun) {
    const int64_t count = std::min(kRun, last - voxel);
    const bool whole = count == kRun;  // a run that is not goes through a buffer
    reader.read(features.data(), voxel, count);
    for (int64_t panel = 0; panel < masks.panels; ++panel) {
      masks.logits(slopes.data(), simd, features.data(), panel);
      avx2::mask_slopes(slopes.data(), k.data() + panel * 3 * kMaskPanel,
                        bits_of(bits, divide_up(masks.prompts, 8), voxel, panel), count);
      if (to) {
        float* place = whole ? to + voxel * channels : gradient.data();
        masks.back(place, panel == 0 && !(whole && add), simd, slopes.data(), panel);
      }
      const int64_t prompts = masks.prompts_of(panel), rows = divide_up(prompts, 2) * 2;
      for (int64_t c = 0; c < channels; c += kGroup) {
        const int64_t width = std::min(kGroup, channels - c);
        std::fill_n(sums.data(), rows * width, 0.f);
        outer(sums.data(), {slopes.data(), features.data() + c, slope_at.data(), feature_at.data(), count}, rows,
              width / kPanel);
        for (int64_t n = 0; n < prompts; ++n) {
          double* total = part + (panel * kMaskPanel + n) * channels + c;
          for (int64_t i = 0; i < width; ++i) total[i] += double(sums[size_t(n * width + i)]);
        }
      }
    }
    for (int64_t i = 0; to && !whole && i < count * channels; ++i) {
      float& value = to[voxel * channels + i];
      value = (add ? value : 0) + gradient[size_t(i)];
    }
  }
}

}  // namespace

std::vector<std::array<double, 4>> CpuBackend::mask_sums(const Features& features, const Tensor& masks,
                                                         const Tensor& bits) {
  const Shape& grid = features.values.shape;
  const int64_t voxels = grid[1] * grid[2] * grid[3], channels = grid[4], prompts = masks.shape[1];
  const int64_t pieces = divide_up(voxels, kPiece);
  std::vector<Sums> sums(size_t(grid[0] * prompts));
  if (Context::current().dry()) return sums;
  const Simd* simd = channels % kPanel == 0 ? current_simd() : nullptr;
  for (int64_t b = 0; b < grid[0]; ++b) {
    const FeatureReader reader(features, b);
    const float* rows = masks.address<float>() + b * prompts * channels;
    const uint8_t* wanted = bits.address<uint8_t>() + b * voxels * bits.shape[4];
    const MaskPanels panels(rows, simd ? prompts : 0, channels);
    std::vector<Sums> parts(size_t(pieces * prompts));
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      const int64_t first = piece * kPiece, last = std::min(voxels, first + kPiece);
      if (simd) return vector_sums(parts.data() + piece * prompts, panels, reader, wanted, *simd, first, last);
      MaskBlock block(reader, rows, wanted, prompts);
      plain_sums(parts.data() + piece * prompts, block, first, last);
    });
    for (int64_t i = 0; i < pieces * prompts; ++i) {
      for (size_t k = 0; k < 4; ++k) sums[size_t(b * prompts + i % prompts)][k] += parts[size_t(i)][k];
    }
  }
  return sums;
}

void CpuBackend::mask_gradient(Tensor& dfeatures, bool add, Tensor& dmasks, const Features& features,
                               const Tensor& masks, const Tensor& bits, const Tensor& factors) {
  if (Context::current().dry()) return;
  const Shape& grid = features.values.shape;
  const int64_t voxels = grid[1] * grid[2] * grid[3], channels = grid[4], prompts = masks.shape[1];
  const int64_t pieces = divide_up(voxels, kPiece);
  const Simd* simd = channels % kPanel == 0 ? current_simd() : nullptr;
  const OuterProduct outer = Context::current().cpu() == CpuLevel::avx2 ? outer_product_avx2 : outer_product_avx512;
  for (int64_t b = 0; b < grid[0]; ++b) {
    const FeatureReader reader(features, b);
    const float* rows = masks.address<float>() + b * prompts * channels;
    const float* k = factors.address<float>() + b * prompts * 3;
    const uint8_t* wanted = bits.address<uint8_t>() + b * voxels * bits.shape[4];
    float* to = dfeatures.empty() ? nullptr : dfeatures.address<float>() + b * voxels * channels;
    const MaskPanels panels(rows, simd ? prompts : 0, channels);
    std::vector<float> by_panel(size_t(panels.panels * 3 * kMaskPanel));
    for (int64_t i = 0; simd && i < 3 * prompts; ++i) {
      by_panel[size_t((i / 3 / kMaskPanel * 3 + i % 3) * kMaskPanel + i / 3 % kMaskPanel)] = k[i];
    }
    std::vector<double> parts(size_t(pieces * prompts * channels));
    parallel_for(pieces, 1, [&](int64_t piece, int64_t) {
      double* part = parts.data() + piece * prompts * channels;
      const int64_t first = piece * kPiece, last = std::min(voxels, first + kPiece);
      if (simd) return vector_gradient(to, add, part, by_panel, panels, reader, wanted, *simd, outer, first, last);
      MaskBlock block(reader, rows, wanted, prompts);
      plain_gradient(to, add, part, k, block, first, last);
    });
    float* sums = dmasks.data<float>() + b * prompts * channels;
    parallel_for(prompts * channels, 256, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        double sum = 0;
        for (int64_t piece = 0; piece < pieces; ++piece) sum += parts[size_t(piece * prompts * channels + i)];
        sums[i] = float(sum);
      }
    });
  }
}

}  // namespace sat::cpu
