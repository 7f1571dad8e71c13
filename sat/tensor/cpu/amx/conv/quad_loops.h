// Private: the loops of the AMX convolution's form `quads` (stride 1), over a `Unit` as line_loops.h has it.
//
// Blocking, and why:
//  - 4 rows x 16 pixels x 16 outputs are summed in 4 tiles, over the whole kernel (quad_step.h). A tile of
//    pixels counts for up to three output rows, so a step of 12 products (192 cycles) loads 6 tiles of pixels and 3 of
//    weights, where 3 x 2 tiles of sums load 5 tiles for 6 products: 28 bytes a cycle, of which the L2 cache gives 45.
//  - Weights lie in the order in which they are read. They and the next pixels are fetched a step ahead, source rows a
//    row ahead: the cache below then never stands still while tiles multiply.
//  - Rows of the ring that are four apart lie end to end (a class), with one zero pixel between them: a tile may run
//    across the end of a row into the row four below. Where 16 divides the depth, tiles begin anew with each row.
//    Classes lie an odd number of lines apart: their tiles fall into different sets of the cache.
//  - A block's results wait in a buffer and are counted, narrowed and stored between the steps of the next block, and
//    the next plane is normalised there too. That also keeps the vector units awake: a tile store that meets them
//    asleep (after some 2000 cycles) takes 600 to 900 cycles. For the same reason a tile is stored for nothing every 72
//    products.
#pragma once

#include <cstdint>
#include <cstring>

#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/cpu/amx/conv/quad_step.h"
#include "sat/tensor/cpu/amx/conv/results.h"
#include "sat/tensor/cpu/amx/conv/taking.h"

namespace sat::cpu {
namespace {

/// A block's place among those of a plane: the group of four rows, and the pixel.
struct QuadPlace {
  int64_t group, pixel;
};

/// How the blocks of a strip follow each other.
struct QuadBlocks {
  int64_t width, line, rows;
  bool aligned;  // blocks begin anew with each row
  int64_t count;

  QuadBlocks(int64_t pixels, int64_t row_count) : width(pixels), line(pixels + 1), rows(row_count) {
    const int64_t groups = (rows + kQuad - 1) / kQuad;
    aligned = width % kAmxRows == 0;
    count = aligned ? groups * (width / kAmxRows) : (groups * line - 1 + kAmxRows - 1) / kAmxRows;
  }

  QuadPlace place(int64_t index) const {
    const int64_t first = index * kAmxRows, row = aligned ? width : line;
    return {first / row, first % row};
  }
};

/// Stores the results of a block and counts them, one pixel at a call.
template <class Unit>
struct QuadResults : Results<Unit> {
  const float* sums = nullptr;  // of the next pixel, in [2][4][16 pixels][16]
  int64_t left = 0;             // pixels of the row that are still to be stored
  int64_t row = kQuad;          // the block's row after this one
  int64_t at = 0;               // the next pixel's place in its line

  const float* block_sums = nullptr;
  char* plane = nullptr;   // where the first result of the block's rows goes
  QuadPlace place{};       // the block's
  int64_t line, width;     // pixels of a line, and those that are results
  int64_t rows, row_step;  // of the strip; bytes from a row of results to the next

  void begin(const float* block, QuadPlace where, char* strip) {
    place = where;
    block_sums = block;
    plane = strip + (kQuad * place.group * width + place.pixel) * this->step;
    row = left = 0;
    const float* some = block + (place.pixel < width ? 0 : 16);
    this->begin_run(Unit::load(some), Unit::load(some + kQuadSums));
  }

  [[gnu::always_inline]] void pixel() {
    if (left == 0 && !next_row()) return;
    --left;
    if (at < width) this->add(Unit::load(sums), Unit::load(sums + kQuadSums));
    sums += 16;
    if (++at == line) {
      at = 0;
      this->to += 3 * row_step;
    }
  }

  void finish() {
    while (left > 0 || row < kQuad) pixel();
  }

 private:
  /// Takes up the block's next row, as far as rows of its class go on; false where there is none.
  [[gnu::always_inline]] bool next_row() {
    while (left == 0) {
      if (row == kQuad) return false;
      left = (rows - row + kQuad - 1) / kQuad * line - (place.group * line + place.pixel);
      left = left < 0 ? 0 : left < kAmxRows ? left : kAmxRows;
      sums = block_sums + row * kAmxRows * 16;
      this->to = plane + row * row_step;
      at = place.pixel;
      ++row;
    }
    return true;
  }
};

/// What a block of 16 outputs reads, and what is done beside its products.
struct QuadBlock {
  const char* planes[4];  // the block's first pixel in the three planes, and where the next block begins
  const char* weights;
  int64_t pixels_stored_a_step, pixels_taken_a_step;
  float* idle;  // where a tile is stored for nothing
};

/// Sums [4][16][16] of a block, while results of the block before are stored and the next plane is taken.
template <class Unit>
[[gnu::noinline]] void multiply_quad(Unit& unit, float* sums, const QuadBlock& block, QuadResults<Unit>& before,
                                     Taking<Unit>& taking) {
  constexpr int64_t kPixel = kAmxLanes * int64_t(sizeof(uint16_t));
  const AmxRing& ring = taking.piece.ring;
  const QuadSteps steps{2 * ring.class_step, ring.line * kPixel};
  const int64_t block_bytes = 2 * ring.block_step, blocks = ring.blocks;
  const int64_t fetched[3] = {0, 2 * steps.row, steps.quad};
  const int64_t stored = block.pixels_stored_a_step, taken = block.pixels_taken_a_step;
  const char* weights = block.weights;
  QuadResults<Unit> results = before;  // copies, so that vectors stay in registers
  Run<Unit> run = taking.run;
  const auto store = [&]() __attribute__((always_inline)) {
    for (int64_t i = 0; i < stored; ++i) results.pixel();
  };
  const auto take = [&]() __attribute__((always_inline)) {
    run.pixels(taken);
    if (run.left == 0 && run.more) run = taking.next();
  };
  unit.template zero_tiles<kQuad>();
  bool odd = true;
  for (int64_t h = 0; h < 3; ++h) {
    const char* pixels = block.planes[h];
    for (int64_t b = 0; b < blocks; ++b, pixels += block_bytes) {
      const char* next = b + 1 < blocks ? pixels + block_bytes : block.planes[h + 1];
      for (int64_t d = 0; d < 3; ++d, weights += 3 * kQuadTile * 2) {
        quad_step(unit, pixels + d * kPixel, weights, next + fetched[d], steps, store, take);
      }
      odd = !odd;
      if (odd) unit.template store_tile<7>(block.idle, 64);
    }
  }
  before = results;
  taking.run = run;
  unit.template store_tile<0>(sums, 64);
  unit.template store_tile<1>(sums + kQuadSums / kQuad, 64);
  unit.template store_tile<2>(sums + 2 * (kQuadSums / kQuad), 64);
  unit.template store_tile<3>(sums + 3 * (kQuadSums / kQuad), 64);
}

/// A strip's blocks, plane by plane and outputs by outputs; the results of one wait while the next is computed.
template <class Unit>
class QuadStrip {
 public:
  QuadStrip(Unit& unit, const AmxPiece& piece)
      : unit_(unit),
        piece_(piece),
        blocks_(piece.out_pixels, piece.last_row - piece.first_row),
        taking_{piece, piece.last_plane + 1} {
    results_.line = blocks_.line;
    results_.width = blocks_.width;
    results_.rows = blocks_.rows;
    // Shared out evenly among the steps of a block and of a plane.
    const int64_t in = piece.ring.blocks, halves = halves_of(piece.first_block, piece.last_block);
    const int64_t block_steps = 9 * in * (halves < 2 ? 1 : 2), plane_steps = 9 * in * halves * blocks_.count;
    block_.pixels_stored_a_step = (kQuad * kAmxRows + block_steps - 1) / block_steps;
    const int64_t runs = taking_.runs(), width = blocks_.width;
    int64_t& taken = block_.pixels_taken_a_step;
    taken = (runs * width + plane_steps - 1) / plane_steps;
    while (taken < width && runs * ((width + taken - 1) / taken) > plane_steps) ++taken;  // a run begins a step
    block_.idle = idle_;
  }

  void run() {
    taking_.begin(piece_.first_plane - 1, piece_.first_plane + 2);
    taking_.finish();
    for (int64_t plane = piece_.first_plane; plane < piece_.last_plane; ++plane) {
      const int64_t next = plane + 2;  // the first input plane that is not there yet
      taking_.begin(next, plane + 1 < piece_.last_plane ? next + 1 : next);
      for (int64_t outputs = piece_.first_block; outputs < piece_.last_block; ++outputs) compute(plane, outputs);
      taking_.finish();
    }
    settle();
  }

 private:
  /// Blocks of 16 outputs among blocks of 32.
  int64_t halves_of(int64_t first, int64_t last) const {
    const int64_t all = (piece_.out + 15) / 16;
    return (2 * last < all ? 2 * last : all) - 2 * first;
  }

  const char* ring_at(int64_t plane, QuadPlace place) const {
    const AmxRing& ring = piece_.ring;
    const int64_t pixel = place.group * ring.line + place.pixel;
    return reinterpret_cast<const char*>(piece_.ring_values + place_of(ring, plane) + pixel * kAmxLanes);
  }

  /// One plane of 32 outputs, but for the results of its last block.
  void compute(int64_t plane, int64_t outputs) {
    const int64_t size = piece_.half ? 2 : 4, halves = halves_of(outputs, outputs + 1);
    char* strip = static_cast<char*>(piece_.planes[plane]) +
                  (piece_.first_row * piece_.out_pixels * piece_.out + outputs * kAmxLanes) * size;
    for (int64_t i = 0; i < blocks_.count; ++i) {
      const QuadPlace place = blocks_.place(i), next = blocks_.place(i + 1 < blocks_.count ? i + 1 : 0);
      float* sums = sums_[turn_];
      for (int64_t h = 0; h < 3; ++h) block_.planes[h] = ring_at(plane - 1 + h, place);
      for (int64_t half = 0; half < halves; ++half) {
        block_.planes[3] = ring_at(plane - 1, half + 1 < halves ? place : next);
        block_.weights = reinterpret_cast<const char*>(piece_.panels + (2 * outputs + half) * piece_.panel_values);
        multiply_quad(unit_, sums + half * kQuadSums, block_, results_, taking_);
      }
      settle();
      results_.describe(piece_, outputs);
      results_.row_step = piece_.out_pixels * results_.step;
      results_.begin(sums, place, strip);
      waiting_ = {plane, outputs, i + 1 == blocks_.count};
      turn_ = 1 - turn_;
    }
  }

  /// Results that still wait are stored and counted.
  void settle() {
    results_.finish();
    counted_.merge(results_);
    if (!waiting_.last) return;
    counted_.hand_over(piece_, waiting_.plane, waiting_.outputs);
    counted_ = Counted();
    waiting_.last = false;
  }

  struct Waiting {
    int64_t plane = 0, outputs = 0;
    bool last = false;  // the plane's last block of these outputs
  };

  Unit& unit_;
  const AmxPiece& piece_;
  const QuadBlocks blocks_;
  Taking<Unit> taking_;
  QuadResults<Unit> results_{};
  QuadBlock block_{};
  Counted counted_;
  Waiting waiting_;
  int turn_ = 0;
  alignas(64) float sums_[2][2 * kQuadSums] = {};
  alignas(64) float idle_[kAmxRows * 16];
};

template <class Unit>
void run_quads(const AmxPiece& piece) {
  Unit unit(TileConfiguration(), piece);
  if ((piece.sources[0].channels + piece.sources[1].channels) % kAmxLanes != 0) {  // lanes that nothing is taken for
    std::memset(piece.ring_values, 0, size_t(piece.ring.values) * sizeof(uint16_t));
  }
  QuadStrip<Unit>(unit, piece).run();
}

}  // namespace
}  // namespace sat::cpu
