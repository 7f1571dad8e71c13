// Private: the innermost step of what is computed on tiles, convolutions, dense layers and attention alike, over a
// `Unit`. Internal linkage, as in conv/line_loops.h.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/tile_configuration.h"

namespace sat::cpu {
namespace {

/// sums += pixels x weights of one step, for M tiles of pixels and N of outputs. Tile n * M + m sums; 6 holds pixels,
/// 7 weights; the pixels' tiles are walked there and back, so that one of them is loaded once.
template <int M, int N, class Unit>
[[gnu::always_inline]] inline void step(Unit& unit, const uint16_t* pixels, int64_t row_bytes,
                                        const uint16_t* weights) {
  const char* const from = reinterpret_cast<const char*>(pixels);
  const int64_t tile = kAmxRows * row_bytes;
  unit.template load_tile<7>(weights, 64);
  unit.template load_tile<6>(from, row_bytes);
  unit.template dot<0, 6, 7>();
  if constexpr (M > 1) {
    unit.template load_tile<6>(from + tile, row_bytes);
    unit.template dot<1, 6, 7>();
  }
  if constexpr (M > 2) {
    unit.template load_tile<6>(from + 2 * tile, row_bytes);
    unit.template dot<2, 6, 7>();
  }
  if constexpr (N > 1) {
    unit.template load_tile<7>(weights + kAmxStep / 2, 64);
    unit.template dot<2 * M - 1, 6, 7>();
    if constexpr (M > 2) {
      unit.template load_tile<6>(from + tile, row_bytes);
      unit.template dot<M + 1, 6, 7>();
    }
    if constexpr (M > 1) {
      unit.template load_tile<6>(from, row_bytes);
      unit.template dot<M, 6, 7>();
    }
  }
}

}  // namespace
}  // namespace sat::cpu
