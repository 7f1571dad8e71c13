// What differs between the CPU levels above plain in the loops of dense ops: the register tile, and the loops that
// compute more than they load, whose bits are the same. All else is AVX2 code (vector_avx2.h), which waits for memory.
// Private: not installed. Holds plain declarations only, so that a file compiled for AVX2 or AVX-512 can include it
// without sharing an inline function with files that are not: the linker might keep either copy.
#pragma once

#include <cstdint>

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

/// Weights [channels, panels * 16], in the order in which they are read.
struct StreamWeights {
  const float* first;
  int64_t channels, panels;
  const float* soon;  // a cache line from here is fetched for each channel
};

/// Where a tile's sums go: 6 rows of panels * 16, `stride` floats from one to the next, = sign * sums where `afresh`,
/// else += sign * sums.
struct TileTarget {
  float* to;
  int64_t stride;
  float sign;
  bool afresh;
};

struct Simd {
  /// sums[r][o] = (first ? 0 : sums[r][o]) + sum over taps t and channels i of rows[t * 6 + r][i] * weight[t][i][o],
  /// for the 6 rows of a tile. The sum over taps and channels is taken in order, by fused multiply-adds, from zero.
  ///   sums [6, panels * 16], rows [taps][6] pointers to `channels` floats
  void (*tile)(float* sums, const float* const* rows, const TileWeights& weights, bool first);
  /// sum over channels i of rows[r][i] * weight[i][o], added to each of `count` targets; weights lie as one stream.
  void (*tile_onto)(const TileTarget* targets, int64_t count, const float* const* rows, const StreamWeights& weights);
  /// x = gelu(x), the exact form, to about 2e-7 of max(|x|, 1).
  void (*gelu)(float* x, int64_t count);
  /// x = exp(scale * x + bias - largest) where `largest` is the largest scale * x + bias; returns the sum of x.
  /// bias null for none.
  float (*exponentials)(float* x, const float* bias, float scale, int64_t count);
};

extern const Simd kAvx2, kAvx512;

namespace avx2 {
void gelu(float* x, int64_t count);
float exponentials(float* x, const float* bias, float scale, int64_t count);
}  // namespace avx2
namespace avx512 {
void gelu(float* x, int64_t count);
float exponentials(float* x, const float* bias, float scale, int64_t count);
}  // namespace avx512

/// The table of the current context's CPU level; null for plain.
const Simd* current_simd();

}  // namespace sat::cpu
