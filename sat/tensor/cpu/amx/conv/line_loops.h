// Private: the loops of the AMX convolution's form `lines` (stride 2, and few channels), over a `Unit`, which has the
// tiles and vectors of 16 floats. Two files make a unit: conv_amx.cpp from the processor's instructions,
// tests/support/amx in portable C++.
//
// Blocking, and why:
//  - 48 pixels x 32 outputs are accumulated in 6 of the 8 tiles, over the whole kernel. The weights of 32 outputs
//    (110 KB for 64 channels) exceed the L1 cache, so every block of pixels streams them from the L2. With 3
//    tiles of pixels to 2 of outputs that is 2 KB in 96 cycles, and 1 KB of pixels; 2 x 2 tiles would need 43 of the
//    45 bytes a cycle that the L2 cache gives.
//  - Rows lie end to end with one zero pixel between them, so that tiles run across the ends of rows: a volume's depth
//    need not divide by 16, and 1 pixel in D + 1 is computed in vain.
//  - The ring of normalised strips (about 1 MB) stays in the L2 cache: an input value is read, normalised and
//    rounded once for all 27 taps and all outputs.
//  - The three pixels of a kernel row follow each other in the innermost loop: two of three tiles of pixels come from
//    the L1 cache. Up to 10 channels, the three pixels are one tile row: a third of the work.
//  - The vector units have nothing to do while tiles multiply (96 cycles a step). So a block's results wait in a buffer
//    and are stored and counted a pixel at a time between the next block's steps, and the next plane is normalised
//    there too, into a slot of the ring that the kernel does not see yet.
// Everything here has internal linkage: the two forms must not meet in the linker.
#pragma once

#include <cstdint>
#include <cstring>

#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/cpu/amx/conv/results.h"
#include "sat/tensor/cpu/amx/conv/taking.h"
#include "sat/tensor/cpu/amx/tile_configuration.h"
#include "sat/tensor/cpu/amx/tile_step.h"

namespace sat::cpu {
namespace {

/// Whole tiles, but for narrow pixels, where a row of tile 6 (pixels) holds no more than three of them, and tile 7
/// (weights) as many pairs of rows.
TileConfiguration tiles_for(const AmxRing& ring) {
  TileConfiguration tiles;
  if (ring.taps == 3) return tiles;
  tiles.row_bytes[6] = uint16_t(3 * ring.pixel * 2);
  tiles.rows[7] = uint8_t(3 * ring.pixel / 2);
  return tiles;
}

/// Stores the results of a block of pixels and counts them, one pixel at a call.
template <class Unit>
struct LineResults : Results<Unit> {
  const float* sums = nullptr;  // of the next pixel, [32]
  int64_t left = 0;             // pixels of the block that are still to be stored
  int64_t at = 0;               // the next pixel's place in its line
  int64_t line, width;          // pixels of a line, and those that are results

  /// Takes up the block of `pixels` pixels from `first` on; `plane` is where the plane's first result goes.
  void begin(const float* block, int64_t first, int64_t pixels, char* plane) {
    const int64_t row = first / line;
    at = first % line;
    sums = block;
    left = pixels;
    this->to = plane + (row * width + at) * this->step;
    const float* some = block + (at < width ? 0 : kAmxLanes);
    this->begin_run(Unit::load(some), Unit::load(some + 16));
  }

  [[gnu::always_inline]] void pixel() {
    if (left == 0) return;
    --left;
    if (at < width) this->add(Unit::load(sums), Unit::load(sums + 16));
    sums += kAmxLanes;
    if (++at == line) at = 0;
  }
};

/// A block of pixels and 32 outputs.
struct LineBlock {
  const uint16_t* pixels[9];  // in the ring: the block's first pixel under the first tap of each kernel row
  const uint16_t* weights;
  int64_t pixels_stored_a_step, pixels_taken_a_step;
};

/// Results [M * 16, 32] of a block, while those of the block before are stored and the next planes are taken.
template <int M, int N, class Unit>
void multiply_lines(Unit& unit, float* sums, const LineBlock& block, LineResults<Unit>& before, Taking<Unit>& taking) {
  const AmxRing ring = taking.piece.ring;
  const int64_t row_bytes = taking.piece.stride * ring.pixel * int64_t(sizeof(uint16_t));
  const int64_t stored = block.pixels_stored_a_step, taken = block.pixels_taken_a_step;
  const uint16_t* weights = block.weights;
  LineResults<Unit> results = before;  // copies, so that vectors stay in registers
  Run<Unit> run = taking.run;
  unit.template zero_tiles<M * N>();
  for (int64_t t = 0; t < 9; ++t) {
    const uint16_t* from = block.pixels[t];
    for (int64_t b = 0; b < ring.blocks; ++b, from += ring.block_step) {
      for (int64_t tap = 0; tap < ring.taps; ++tap, weights += kAmxStep) {
        step<M, N>(unit, from + tap * ring.pixel, row_bytes, weights);
        for (int64_t i = 0; i < stored; ++i) results.pixel();
        if (run.left == 0 && run.more) run = taking.next();
        run.pixels(taken);
      }
    }
  }
  before = results;
  taking.run = run;
  unit.template store_tiles<M, N>(sums);
}

/// The strip's results in one plane, for one block of outputs.
template <class Unit>
void compute_lines(Unit& unit, const AmxPiece& piece, int64_t plane, int64_t outputs_block, Taking<Unit>& taking,
                   int64_t taken_a_step) {
  const AmxRing& ring = piece.ring;
  const int64_t line = ring.line / piece.stride, pixels = (piece.last_row - piece.first_row) * line;
  const int64_t steps = 9 * ring.blocks * ring.taps;
  const bool wide = piece.out - outputs_block * kAmxLanes > 16;
  LineBlock block;
  block.weights = piece.panels + outputs_block * piece.panel_values;
  block.pixels_stored_a_step = (kAmxBlock + steps - 1) / steps;
  block.pixels_taken_a_step = taken_a_step;
  for (int64_t t = 0; t < 9; ++t) {
    const int64_t w = t % 3;
    block.pixels[t] = piece.ring_values + place_of(ring, plane * piece.stride + t / 3 - 1) +
                      w % ring.classes * ring.class_step + w / ring.classes * ring.line * ring.pixel;
  }

  alignas(64) float sums[2][kAmxBlock * kAmxLanes] = {};
  LineResults<Unit> results{};
  results.describe(piece, outputs_block);
  results.line = line;
  results.width = piece.out_pixels;
  char* to = static_cast<char*>(piece.planes[plane]) + piece.first_row * piece.out_pixels * results.step +
             outputs_block * kAmxLanes * (piece.half ? 2 : 4);
  Counted counted;
  int turn = 0;
  for (int64_t first = 0; first < pixels; first += kAmxBlock, turn = 1 - turn) {
    const int64_t left = pixels - first < kAmxBlock ? pixels - first : kAmxBlock;
    auto form = wide ? multiply_lines<1, 2, Unit> : multiply_lines<1, 1, Unit>;
    if (left > kAmxRows) form = wide ? multiply_lines<2, 2, Unit> : multiply_lines<2, 1, Unit>;
    if (left > 2 * kAmxRows) form = wide ? multiply_lines<3, 2, Unit> : multiply_lines<3, 1, Unit>;
    form(unit, sums[turn], block, results, taking);
    counted.merge(results);  // the block before: all its pixels are stored by now
    results.begin(sums[turn], first, left, to);
    for (const uint16_t*& from : block.pixels) from += kAmxBlock * piece.stride * ring.pixel;
  }
  while (results.left > 0) results.pixel();
  counted.merge(results);
  counted.hand_over(piece, plane, outputs_block);
}

template <class Unit>
void run_lines(const AmxPiece& piece) {
  Unit unit(tiles_for(piece.ring), piece);
  std::memset(piece.ring_values, 0, size_t(piece.ring.values) * sizeof(uint16_t));
  Taking<Unit> taking{piece, (piece.last_plane - 1) * piece.stride + 2};
  // Pixels to take while a plane is computed, shared out evenly among its steps.
  const int64_t pixels = (piece.last_row - piece.first_row) * (piece.ring.line / piece.stride);
  const int64_t steps = (piece.last_block - piece.first_block) * ((pixels + kAmxBlock - 1) / kAmxBlock) * 9 *
                        piece.ring.blocks * piece.ring.taps;
  const int64_t taken_a_step = (piece.stride * taking.runs() * piece.in_size[2] + steps - 1) / steps;

  taking.begin(piece.first_plane * piece.stride - 1, piece.first_plane * piece.stride + 2);
  taking.finish();
  for (int64_t plane = piece.first_plane; plane < piece.last_plane; ++plane) {
    const int64_t next = plane * piece.stride + 2;  // the first input plane that is not there yet
    taking.begin(next, plane + 1 < piece.last_plane ? next + piece.stride : next);
    for (int64_t block = piece.first_block; block < piece.last_block; ++block) {
      compute_lines(unit, piece, plane, block, taking, taken_a_step);
    }
    taking.finish();
  }
}

}  // namespace
}  // namespace sat::cpu
