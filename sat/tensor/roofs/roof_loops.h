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

/// Six sums of bf16 tile products a step, 6 * 2 * 16 * 16 * 32 flop, from operands [2, kRoofTile]; only where
/// amx_available(). Returns the total of one sum.
constexpr int64_t kRoofTile = 16 * 32, kRoofTileFlop = 6 * 2 * 16 * 16 * 32;
float tile_products(const uint16_t* operands, int64_t steps);

}  // namespace sat::cpu
