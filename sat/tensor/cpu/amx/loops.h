// Private: the loops of the AMX convolution over a `Unit`, which has the tiles and vectors of 16 floats. Two files make
// a unit: loops_amx.cpp from the processor's instructions, tests/support/amx in portable C++.
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
//  - Statistics: sums of at most 48 values in f32, relative to one of them, so that the sum of squares is at most 49
//    times what remains after the mean is taken out; these runs merge in double.
// Everything here has internal linkage: the two forms must not meet in the linker.
#pragma once

#include <cstdint>
#include <cstring>

#include "sat/tensor/cpu/amx/piece.h"
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
struct Epilogue {
  using Vector = typename Unit::Vector;

  const float* sums = nullptr;  // of the next pixel, [32]
  char* to = nullptr;           // where its results go
  int64_t left = 0;             // pixels of the block that are still to be stored
  int64_t at = 0;               // the next pixel's place in its line
  int64_t count = 0;            // pixels that are stored: all but those between rows
  Vector shift[2], sum[2], square[2];

  int64_t line, width;  // pixels of a line, and those that are results
  int64_t step;         // bytes from a pixel's results to the next
  uint32_t lanes;       // which of the 32 outputs exist
  bool half, around_cache;

  /// Takes up the block of `pixels` pixels from `first` on; `plane` is where the plane's first result goes.
  void begin(const float* block, int64_t first, int64_t pixels, char* plane) {
    const int64_t row = first / line;
    at = first % line;
    sums = block;
    to = plane + (row * width + at) * step;
    left = pixels;
    count = 0;
    const float* some = block + (at < width ? 0 : kAmxLanes);
    for (int n = 0; n < 2; ++n) {
      shift[n] = Unit::load(some + 16 * n);
      sum[n] = square[n] = Unit::all(0.f);
    }
  }

  [[gnu::always_inline]] void pixel() {
    if (left == 0) return;
    --left;
    if (at < width) {
      const Vector value[2] = {Unit::load(sums), Unit::load(sums + 16)};
      for (int n = 0; n < 2; ++n) {
        const Vector off = Unit::subtract(value[n], shift[n]);
        sum[n] = Unit::add(sum[n], off);
        square[n] = Unit::multiply_add(off, off, square[n]);
      }
      Unit::put(to, value[0], value[1], lanes, half, around_cache);
      to += step;
      ++count;
    }
    sums += kAmxLanes;
    if (++at == line) at = 0;
  }
};

/// Count, mean and sum of squared deviations of 32 outputs.
struct Counted {
  double count = 0;
  double mean[kAmxLanes] = {}, m2[kAmxLanes] = {};

  /// Takes in a stored block, by Chan's formula.
  template <class Unit>
  void merge(const Epilogue<Unit>& block) {
    if (block.count == 0) return;
    alignas(64) float shift[kAmxLanes], sum[kAmxLanes], square[kAmxLanes];
    for (int n = 0; n < 2; ++n) {
      Unit::store(shift + 16 * n, block.shift[n]);
      Unit::store(sum + 16 * n, block.sum[n]);
      Unit::store(square + 16 * n, block.square[n]);
    }
    const double pixels = double(block.count), share = pixels / (count + pixels), weight = count * share;
    for (int64_t lane = 0; lane < kAmxLanes; ++lane) {
      const double off = double(sum[lane]) / pixels;
      double own = double(square[lane]) - double(sum[lane]) * off;
      own = own < 0 ? 0 : own;
      const double delta = double(shift[lane]) + off - mean[lane];
      mean[lane] += delta * share;
      m2[lane] += own + delta * delta * weight;
    }
    count += pixels;
  }
};

/// Pixels of a source's row on their way into a block of the ring: the pending norm taken, rounded to bf16.
template <class Unit>
struct Run {
  using Vector = typename Unit::Vector;

  int64_t left = 0;            // pixels
  bool more = false;           // another run follows this one
  uint16_t* to;                // the next pixel's first lane
  uintptr_t from;              // where that lane's value lies, or would: the source may begin further up in the block
  int64_t to_step, from_step;  // to the next pixel, in values and in bytes
  uint32_t lanes;              // of the block that the source has
  bool half;
  Vector center[2], factor[2], shift[2], slope;

  [[gnu::always_inline]] void pixel() {
    if (left == 0) return;
    --left;
    const uint32_t low = lanes & 0xFFFF, high = lanes >> 16;
    Vector value[2];
    if (half) {
      value[0] = Unit::template take<true>(from, low);
      value[1] = Unit::template take<true>(from + 32, high);
    } else {
      value[0] = Unit::template take<false>(from, low);
      value[1] = Unit::template take<false>(from + 64, high);
    }
    for (int n = 0; n < 2; ++n) {
      value[n] = Unit::multiply_add(Unit::subtract(value[n], center[n]), factor[n], shift[n]);
      value[n] = Unit::leaky(value[n], slope);
    }
    Unit::round(to, value[0], value[1], lanes);
    to += to_step;
    from += uintptr_t(from_step);
  }
};

/// The input planes that the next output plane needs, as runs. Rows outside the volume become zeros on the way.
template <class Unit>
struct Taking {
  const AmxPiece& piece;
  int64_t plane = 0, last_plane = 0;  // of the input
  int64_t row = 0, block = 0, source = 0;
  Run<Unit> run{};

  int64_t rows() const { return (piece.last_row - piece.first_row - 1) * piece.stride + 3; }

  void begin(int64_t first, int64_t last) {
    plane = first;
    last_plane = last;
    row = block = source = 0;
    run = next();
  }

  void finish() {
    while (run.left > 0 || run.more) {
      if (run.left == 0) run = next();
      while (run.left > 0) run.pixel();
    }
  }

  /// The next run that has pixels; one without where no plane is left.
  Run<Unit> next() {
    const AmxRing& ring = piece.ring;
    const int64_t pixels = piece.in_size[2];
    while (plane < last_plane) {
      const int64_t in_row = piece.first_row * piece.stride - 1 + row;
      const bool inside = plane >= 0 && plane < piece.in_size[0] && in_row >= 0 && in_row < piece.in_size[1];
      uint16_t* to = piece.ring_values + slot_of(ring, plane) * ring.plane + row % piece.stride * ring.strip +
                     block * ring.block + (row / piece.stride * ring.line + 1) * ring.pixel;
      if (!inside && source == 0) std::memset(to, 0, size_t(pixels * ring.pixel) * sizeof *to);
      const AmxSource& from = piece.sources[source];
      const int64_t in_block = block, in_plane = plane;
      advance();
      const int64_t begin = from.first - in_block * kAmxLanes, end = begin + from.channels;  // lanes of the block
      if (!inside || from.channels == 0 || begin >= kAmxLanes || end <= 0) continue;
      return run_of(
          from, begin, end, to,
          static_cast<const char*>(from.planes[in_plane]) + in_row * pixels * from.channels * (from.half ? 2 : 4));
    }
    return Run<Unit>();
  }

  static int64_t slot_of(const AmxRing& ring, int64_t plane) { return (plane + ring.slots) % ring.slots; }

 private:
  void advance() {
    if (++source < 2) return;
    source = 0;
    if (++block < piece.ring.blocks) return;
    block = 0;
    if (++row < rows()) return;
    row = 0;
    ++plane;
  }

  Run<Unit> run_of(const AmxSource& from, int64_t begin, int64_t end, uint16_t* to, const char* values) const {
    const int64_t size = from.half ? 2 : 4;
    const uint32_t below = begin <= 0 ? 0 : (uint32_t(1) << begin) - 1;
    Run<Unit> result;
    result.left = piece.in_size[2];
    result.more = true;
    result.to = to;
    result.from = reinterpret_cast<uintptr_t>(values) - uintptr_t(begin * size);
    result.to_step = piece.ring.pixel;
    result.from_step = from.channels * size;
    result.lanes = (end >= kAmxLanes ? ~uint32_t(0) : (uint32_t(1) << end) - 1) & ~below;
    result.half = from.half;
    for (int n = 0; n < 2; ++n) {
      const uint32_t some = result.lanes >> 16 * n & 0xFFFF;
      const auto lanes_of = [&](const float* channels, float none) {
        if (!from.norm.center) return Unit::all(none);
        return Unit::template take<false>(reinterpret_cast<uintptr_t>(channels) - uintptr_t(begin * 4) + 64 * n, some);
      };
      result.center[n] = lanes_of(from.norm.center, 0);
      result.factor[n] = lanes_of(from.norm.factor, 1);
      result.shift[n] = lanes_of(from.norm.shift, 0);
    }
    result.slope = Unit::all(from.norm.center ? from.norm.slope : 1);
    return result;
  }
};

/// A block of pixels and 32 outputs.
struct Block {
  const uint16_t* pixels[9];  // in the ring: the block's first pixel under the first tap of each kernel row
  const uint16_t* weights;
  int64_t pixels_stored_a_step, pixels_taken_a_step;
};

/// Results [M * 16, 32] of a block, while those of the block before are stored and the next planes are taken.
template <int M, int N, class Unit>
void multiply(Unit& unit, float* sums, const Block& block, Epilogue<Unit>& before, Taking<Unit>& taking) {
  const AmxRing ring = taking.piece.ring;
  const int64_t row_bytes = taking.piece.stride * ring.pixel * int64_t(sizeof(uint16_t));
  const int64_t stored = block.pixels_stored_a_step, taken = block.pixels_taken_a_step;
  const uint16_t* weights = block.weights;
  Epilogue<Unit> epilogue = before;  // copies, so that vectors stay in registers
  Run<Unit> run = taking.run;
  unit.template zero_tiles<M * N>();
  for (int64_t t = 0; t < 9; ++t) {
    const uint16_t* from = block.pixels[t];
    for (int64_t b = 0; b < ring.blocks; ++b, from += ring.block) {
      for (int64_t tap = 0; tap < ring.taps; ++tap, weights += kAmxStep) {
        step<M, N>(unit, from + tap * ring.pixel, row_bytes, weights);
        for (int64_t i = 0; i < stored; ++i) epilogue.pixel();
        if (run.left == 0 && run.more) run = taking.next();
        for (int64_t i = 0; i < taken; ++i) run.pixel();
      }
    }
  }
  before = epilogue;
  taking.run = run;
  unit.template store_tiles<M, N>(sums);
}

/// The strip's results in one plane, for one block of outputs.
template <class Unit>
void compute_plane(Unit& unit, const AmxPiece& piece, int64_t plane, int64_t outputs_block, Taking<Unit>& taking,
                   int64_t taken_a_step) {
  const AmxRing& ring = piece.ring;
  const int64_t line = ring.line / piece.stride, pixels = (piece.last_row - piece.first_row) * line;
  const int64_t above = piece.out - outputs_block * kAmxLanes, outputs = above < kAmxLanes ? above : kAmxLanes;
  const int64_t size = piece.half ? 2 : 4, steps = 9 * ring.blocks * ring.taps;
  Block block;
  block.weights = piece.panels + outputs_block * piece.panel_values;
  block.pixels_stored_a_step = (kAmxBlock + steps - 1) / steps;
  block.pixels_taken_a_step = taken_a_step;
  for (int64_t t = 0; t < 9; ++t) {
    const int64_t slot = Taking<Unit>::slot_of(ring, plane * piece.stride + t / 3 - 1), w = t % 3;
    block.pixels[t] = piece.ring_values + slot * ring.plane + w % piece.stride * ring.strip +
                      w / piece.stride * ring.line * ring.pixel;
  }
  char* to = static_cast<char*>(piece.planes[plane]) +
             (piece.first_row * piece.out_pixels * piece.out + outputs_block * kAmxLanes) * size;

  alignas(64) float sums[2][kAmxBlock * kAmxLanes] = {};
  Epilogue<Unit> epilogue{};
  epilogue.line = line;
  epilogue.width = piece.out_pixels;
  epilogue.step = piece.out * size;
  epilogue.lanes = outputs == kAmxLanes ? ~uint32_t(0) : (uint32_t(1) << outputs) - 1;
  epilogue.half = piece.half;
  epilogue.around_cache = piece.around_cache;
  Counted counted;
  int turn = 0;
  for (int64_t first = 0; first < pixels; first += kAmxBlock, turn = 1 - turn) {
    const int64_t left = pixels - first < kAmxBlock ? pixels - first : kAmxBlock;
    const bool wide = outputs > 16;
    auto form = wide ? multiply<1, 2, Unit> : multiply<1, 1, Unit>;
    if (left > kAmxRows) form = wide ? multiply<2, 2, Unit> : multiply<2, 1, Unit>;
    if (left > 2 * kAmxRows) form = wide ? multiply<3, 2, Unit> : multiply<3, 1, Unit>;
    form(unit, sums[turn], block, epilogue, taking);
    counted.merge(epilogue);  // the block before: all its pixels are stored by now
    epilogue.begin(sums[turn], first, left, to);
    for (const uint16_t*& from : block.pixels) from += kAmxBlock * piece.stride * ring.pixel;
  }
  while (epilogue.left > 0) epilogue.pixel();
  counted.merge(epilogue);

  double* moments = piece.moments + (plane - piece.first_plane) * piece.moments_step + outputs_block * kAmxLanes;
  for (int64_t lane = 0; lane < outputs; ++lane) {
    moments[lane] = counted.mean[lane];
    moments[piece.out + lane] = counted.m2[lane];
  }
}

template <class Unit>
void run_piece(const AmxPiece& piece) {
  Unit unit(piece);
  std::memset(piece.ring_values, 0, size_t(piece.ring.values) * sizeof(uint16_t));
  Taking<Unit> taking{piece};
  // Pixels to take while a plane is computed, shared out evenly among its steps.
  const int64_t lines = piece.stride * taking.rows() * (piece.ring.blocks + (piece.sources[1].channels > 0 ? 1 : 0));
  const int64_t pixels = (piece.last_row - piece.first_row) * (piece.ring.line / piece.stride);
  const int64_t steps = (piece.last_block - piece.first_block) * ((pixels + kAmxBlock - 1) / kAmxBlock) * 9 *
                        piece.ring.blocks * piece.ring.taps;
  const int64_t taken_a_step = (lines * piece.in_size[2] + steps - 1) / steps;

  taking.begin(piece.first_plane * piece.stride - 1, piece.first_plane * piece.stride + 2);
  taking.finish();
  for (int64_t plane = piece.first_plane; plane < piece.last_plane; ++plane) {
    const int64_t next = plane * piece.stride + 2;  // the first input plane that is not there yet
    taking.begin(next, plane + 1 < piece.last_plane ? next + piece.stride : next);
    for (int64_t block = piece.first_block; block < piece.last_block; ++block) {
      compute_plane(unit, piece, plane, block, taking, taken_a_step);
    }
    taking.finish();
  }
}

}  // namespace
}  // namespace sat::cpu
