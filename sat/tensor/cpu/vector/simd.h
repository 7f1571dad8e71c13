// The vector forms of the hot loops: one table of functions for each CPU level above plain.
// Private: not installed. Holds plain declarations only, so that a file compiled for AVX2 or AVX-512 can include it
// without sharing an inline function with files that are not: the linker might keep either copy.
#pragma once

#include <cstdint>

namespace sat {
struct f16;  // tensor.h
}

namespace sat::cpu {

constexpr int64_t kPanel = 16;      // outputs of a weight panel
constexpr int64_t kTileRows = 6;    // rows of a register tile: 6 x 16 in AVX2, 6 x 64 in AVX-512
constexpr int64_t kTilePanels = 4;  // most panels of one call

/// Part of the weights of a product: `taps` runs of `channels` rows of 16 outputs, in up to kTilePanels panels.
struct TileWeights {
  const float* first;
  int64_t taps, tap_stride;  // strides in floats
  int64_t channels;
  int64_t panels, panel_stride;
  /// What will be read soon: up to kTilePanels * channels cache lines from here are fetched meanwhile, `lines` for each
  /// channel of the sum. Null: nothing.
  const float* soon = nullptr;
  int64_t lines = 0;
};

struct Simd {
  /// sums[r][o] = (first ? 0 : sums[r][o]) + sum over taps t and channels i of rows[t * 6 + r][i] * weight[t][i][o],
  /// for the 6 rows of a tile. The sum over taps and channels is taken in order, by fused multiply-adds, from zero.
  ///   sums [6, panels * 16], rows [taps][6] pointers to `channels` floats
  void (*tile)(float* sums, const float* const* rows, const TileWeights& weights, bool first);

  /// x = gelu(x), the exact form, to about 2e-7 of max(|x|, 1).
  void (*gelu)(float* x, int64_t count);

  /// x = exp(scale * x + bias - largest) where `largest` is the largest scale * x + bias; returns the sum of x.
  /// bias null for none.
  float (*exponentials)(float* x, const float* bias, float scale, int64_t count);

  /// scores += weight * tanh(logits / 2), the tanh to within 2e-7.
  void (*add_squashed)(float* scores, const float* logits, float weight, int64_t count);

  /// Per channel of x [voxels, channels]: mean, and sum of squared deviations from it (two passes, in double).
  void (*moments)(double* mean, double* m2, const float* x, int64_t voxels, int64_t channels);

  /// y = leaky_relu((x - center) * factor + shift), center, factor and shift [channels]; y may be x.
  void (*normalise_leaky_relu)(float* y, const float* x, const float* center, const float* factor, const float* shift,
                               float slope, int64_t voxels, int64_t channels);

  /// Between f32 and f16; to the latter rounded to nearest even and held within +-kLargestHalf (moments.h).
  void (*widen)(float* y, const f16* x, int64_t count);
  void (*narrow)(f16* y, const float* x, int64_t count);

  /// One row of a layer norm.
  void (*layer_norm)(float* y, const float* x, const float* gain, const float* bias, int64_t channels, float eps);
};

extern const Simd kAvx2, kAvx512;

/// The table of the current context's CPU level; null for plain.
const Simd* current_simd();

}  // namespace sat::cpu
