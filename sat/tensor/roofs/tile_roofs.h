// Private: the loops of roofs.h on tiles, over a `Unit` as the loops of cpu/amx/ are. Internal linkage, as there: the
// processor's form and the portable one must not meet in the linker.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/roofs/roof_loops.h"

namespace sat::cpu {
namespace {

/// The total of `tiles` sums that store_tiles() stored side by side.
float total_of(const float* sums, int64_t tiles) {
  float total = 0;
  for (int64_t i = 0; i < tiles * kAmxRows * kAmxRows; ++i) total += sums[i];
  return total;
}

/// tile_products(): six sums, as many as leave room for two operands.
template <class Unit>
float resident_products(Unit& unit, const uint16_t* operands, int64_t steps) {
  unit.template load_tile<6>(operands, 64);
  unit.template load_tile<7>(operands + kRoofTile, 64);
  unit.template zero_tiles<6>();
  for (int64_t step = 0; step < steps; ++step) {
    unit.template dot<0, 6, 7>();
    unit.template dot<1, 6, 7>();
    unit.template dot<2, 6, 7>();
    unit.template dot<3, 6, 7>();
    unit.template dot<4, 6, 7>();
    unit.template dot<5, 6, 7>();
  }
  alignas(64) float sums[kAmxBlock * kAmxLanes];
  unit.template store_tiles<3, 2>(sums);
  return total_of(sums, 6);
}

/// fed_products(): a tile of pixels of input row j serves each of the four rows of results that it touches.
template <class Unit>
float loaded_products(Unit& unit, const FedOperands& operands, int64_t steps) {
  unit.template zero_tiles<4>();
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t tap = step % 3;
    const uint16_t *weights = operands.weights[tap][0], *pixels = operands.pixels[0][tap];
    constexpr int64_t kRow = sizeof operands.pixels[0] / sizeof(uint16_t);
    unit.template load_tile<4>(weights, 64);
    unit.template load_tile<7>(pixels, 64);
    unit.template dot<0, 7, 4>();
    unit.template load_tile<5>(weights + kRoofTile, 64);
    unit.template load_tile<7>(pixels + kRow, 64);
    unit.template dot<0, 7, 5>();
    unit.template dot<1, 7, 4>();
    unit.template load_tile<6>(weights + 2 * kRoofTile, 64);
    unit.template load_tile<7>(pixels + 2 * kRow, 64);
    unit.template dot<0, 7, 6>();
    unit.template dot<1, 7, 5>();
    unit.template dot<2, 7, 4>();
    unit.template load_tile<7>(pixels + 3 * kRow, 64);
    unit.template dot<1, 7, 6>();
    unit.template dot<2, 7, 5>();
    unit.template dot<3, 7, 4>();
    unit.template load_tile<7>(pixels + 4 * kRow, 64);
    unit.template dot<2, 7, 6>();
    unit.template dot<3, 7, 5>();
    unit.template load_tile<7>(pixels + 5 * kRow, 64);
    unit.template dot<3, 7, 6>();
  }
  alignas(64) float sums[2 * kAmxRows * kAmxLanes];
  unit.template store_tiles<2, 2>(sums);
  return total_of(sums, 4);
}

}  // namespace
}  // namespace sat::cpu
