// Private: the loops behind roofs.h, one table a CPU level.
// Holds plain declarations only, as simd.h does and for the same reason.
#pragma once

#include <cstdint>

namespace sat::cpu {

/// Random numbers that a multiply-add loop starts from: four runs of kRoofLanes coefficients, then the chains.
constexpr int64_t kRoofLanes = 16, kRoofChains = 16, kRoofSeeds = (4 + kRoofChains) * kRoofLanes;

struct RoofLoops {
  int64_t step_flop;  // flop of one step

  /// Independent chains x = x * grow + first, x = x * shrink + second, two multiply-adds a step. With lanes of `grow`
  /// in [-1.3, -1.1] and of `shrink` in [0.65, 0.75] each lane settles into changing for ever between two values of
  /// ordinary size. Returns a number that depends on all chains.
  ///   seeds [kRoofSeeds]: grow, first, shrink, second, chains
  float (*multiply_add)(const float* seeds, int64_t steps);

  /// to = from; count is a multiple of 64.
  void (*copy)(float* to, const float* from, int64_t count);
};

extern const RoofLoops kRoofAvx2, kRoofAvx512;

/// bf16 values of a tile: 16 rows of 32.
constexpr int64_t kRoofTile = 16 * 32;

/// What one block of a convolution along two axes reads, 16 KB: six rows of 18 pixels with 32 channels, and the weights
/// of 3 x 3 taps for 16 outputs.
struct FedOperands {
  alignas(64) uint16_t pixels[6][18][32];
  alignas(64) uint16_t weights[3][3][kRoofTile];
};

/// Tile products; only where amx_available(). They return the total of their sums.
///   tile_products  six sums a step, from two operands that stay in tiles: operands [2, kRoofTile]
///   fed_products   a block of 4 rows x 16 pixels x 16 outputs, one tap along the pixels a step: 12 products, for which
///                  nine operands are loaded from the L1 cache. After three steps they are loaded again
constexpr int64_t kRoofProduct = 2 * 16 * 16 * 32, kRoofTileFlop = 6 * kRoofProduct, kRoofFedFlop = 12 * kRoofProduct;
float tile_products(const uint16_t* operands, int64_t steps);
float fed_products(const FedOperands& operands, int64_t steps);

}  // namespace sat::cpu
