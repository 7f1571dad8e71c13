// Private: the innermost step of the AMX convolution's quads: 12 products for 9 tile loads. Internal linkage, as in
// line_loops.h.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/conv/piece.h"

namespace sat::cpu {
namespace {

/// From a tile of pixels to others, in bytes: the next row's (of the next class), and the one's four rows below.
struct QuadSteps {
  int64_t row, quad;
};

/// Tiles 0 to 3 are the sums of four rows x 16 pixels x 16 outputs. Input row j under one pixel tap counts for the
/// output rows j - 2 to j, by the kernel's rows 2 to 0: it is loaded once, into tile 7, for the weights of these in
/// tiles 4 to 6. The weights of the next step, and two tiles of pixels from `next` on, are fetched into the L1 cache
/// meanwhile. `store` and `take` are called once each, where vectors have time to spare.
template <class Unit, class Store, class Take>
[[gnu::always_inline]] inline void quad_step(Unit& unit, const char* pixels, const char* weights, const char* next,
                                             const QuadSteps& steps, const Store& store, const Take& take) {
  constexpr int64_t kTile = kQuadTile * int64_t(sizeof(uint16_t));
  unit.template load_tile<4>(weights, 64);
  unit.template load_tile<7>(pixels, 64);
  unit.template dot<0, 7, 4>();
  unit.template load_tile<5>(weights + kTile, 64);
  unit.template load_tile<7>(pixels + steps.row, 64);
  unit.template dot<0, 7, 5>();
  unit.template dot<1, 7, 4>();
  Unit::template fetch<16>(weights + 3 * kTile);
  unit.template load_tile<6>(weights + 2 * kTile, 64);
  unit.template load_tile<7>(pixels + 2 * steps.row, 64);
  unit.template dot<0, 7, 6>();
  unit.template dot<1, 7, 5>();
  unit.template dot<2, 7, 4>();
  Unit::template fetch<16>(weights + 4 * kTile);
  store();
  unit.template load_tile<7>(pixels + 3 * steps.row, 64);
  unit.template dot<1, 7, 6>();
  unit.template dot<2, 7, 5>();
  unit.template dot<3, 7, 4>();
  Unit::template fetch<16>(weights + 5 * kTile);
  take();
  unit.template load_tile<7>(pixels + steps.quad, 64);
  unit.template dot<2, 7, 6>();
  unit.template dot<3, 7, 5>();
  Unit::template fetch<18>(next);
  unit.template load_tile<7>(pixels + steps.quad + steps.row, 64);
  unit.template dot<3, 7, 6>();
  Unit::template fetch<18>(next + steps.row);
}

}  // namespace
}  // namespace sat::cpu
