// Private: the loops of the AMX convolution over a `Unit`, which has the tiles and vectors of 16 floats. Two files make
// a unit: conv_amx.cpp from the processor's instructions, amx_twin.cpp in portable C++.
//
// Blocking, and why:
//  - 48 pixels x 32 outputs are accumulated in 6 of the 8 tiles, over the whole kernel. The weights of 32 outputs
//    (110 KB for 64 channels) exceed the first cache, so every block of pixels streams them from the second. With 3
//    tiles of pixels to 2 of outputs that is 2 KB in 96 cycles, and 1 KB of pixels; 2 x 2 tiles would need 43 of the
//    45 bytes a cycle that the second cache gives.
//  - Rows lie end to end with one zero pixel between them, so that tiles run across the ends of rows: a volume's depth
//    need not divide by 16, and 1 pixel in D + 1 is computed in vain.
//  - The ring of three normalised strips (about 1 MB) stays in the second cache: an input value is read, normalised
//    and rounded once for all 27 taps and all outputs.
//  - The three pixels of a kernel row follow each other in the innermost loop: two of three tiles of pixels come from
//    the first cache. Up to 10 channels, the three pixels are one tile row: a third of the work.
//  - Results wait in a buffer and are stored and counted a pixel at a time between the next block's steps, when the
//    vector units have nothing else to do.
//  - Statistics: sums of at most 48 values in f32, relative to one of them, so that the sum of squares is at most 49
//    times what remains after the mean is taken out; these runs merge in double.
// Everything here has internal linkage: the two forms must not meet in the linker.
#pragma once

#include <cstdint>
#include <cstring>

#include "sat/tensor/amx_piece.h"

namespace sat::cpu {
namespace {

/// What ldtilecfg reads: tiles of 16 rows of 64 bytes, but for narrow pixels, where a row of tile 6 (pixels) holds no
/// more than three of them, and tile 7 (weights) as many pairs of rows.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

  explicit TileConfiguration(const AmxRing& ring) {
    if (ring.taps == 3) return;
    row_bytes[6] = uint16_t(3 * ring.pixel * 2);
    rows[7] = uint8_t(3 * ring.pixel / 2);
  }
};

/// Stores the results of a block of pixels and counts them, one pixel at a call.
template <class Unit>
struct Finish {
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

  /// Takes in a finished block, by Chan's formula.
  template <class Unit>
  void merge(const Finish<Unit>& block) {
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

/// One row of a source's channels into a block of the ring: the pending norm taken, rounded to bf16.
///   to  the block's first pixel; from  the row's first value
template <class Unit, bool Half, bool Norm>
void take_row(uint16_t* to, int64_t pixel, const AmxSource& source, const char* from, int64_t pixels, int64_t block) {
  using Vector = typename Unit::Vector;
  const int64_t begin = source.first - block * kAmxLanes, end = begin + source.channels;  // lanes of the block
  const uint32_t below = begin <= 0 ? 0 : (uint32_t(1) << begin) - 1;
  const uint32_t lanes = (end >= kAmxLanes ? ~uint32_t(0) : (uint32_t(1) << end) - 1) & ~below;
  const uint32_t low = lanes & 0xFFFF, high = lanes >> 16;
  // Addresses of the block's lane 0, which lies before the source's values where those begin inside the block.
  const auto lane0 = [&](const void* values, int64_t size) {
    return reinterpret_cast<uintptr_t>(values) - uintptr_t(begin * size);
  };
  constexpr int64_t size = Half ? 2 : 4;
  Vector center[2], factor[2], shift[2];
  if constexpr (Norm) {
    for (int n = 0; n < 2; ++n) {
      const uint32_t some = n ? high : low;
      center[n] = Unit::template take<false>(lane0(source.center, 4) + 64 * n, some);
      factor[n] = Unit::template take<false>(lane0(source.factor, 4) + 64 * n, some);
      shift[n] = Unit::template take<false>(lane0(source.shift, 4) + 64 * n, some);
    }
  }
  const Vector slope = Unit::all(source.slope);
  uintptr_t at = lane0(from, size);
  for (int64_t p = 0; p < pixels; ++p, at += uintptr_t(source.channels * size), to += pixel) {
    Vector value[2] = {Unit::template take<Half>(at, low), Unit::template take<Half>(at + 16 * size, high)};
    if constexpr (Norm) {
      for (int n = 0; n < 2; ++n) {
        value[n] = Unit::multiply_add(Unit::subtract(value[n], center[n]), factor[n], shift[n]);
        value[n] = Unit::leaky(value[n], slope);
      }
    }
    Unit::round(to, value[0], value[1], lanes);
  }
}

/// One plane of the inputs, or zeros where there is none, into its slot of the ring.
template <class Unit>
void take_plane(const AmxPiece& piece, int64_t plane) {
  const AmxRing& ring = piece.ring;
  const int64_t rows = (piece.last_row - piece.first_row - 1) * piece.stride + 3, pixels = piece.in_size[2];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = piece.first_row * piece.stride - 1 + r;
    const bool inside = plane >= 0 && plane < piece.in_size[0] && row >= 0 && row < piece.in_size[1];
    uint16_t* to = piece.ring_values + (plane + kAmxSlots) % kAmxSlots * ring.plane + r % piece.stride * ring.strip +
                   (r / piece.stride * ring.line + 1) * ring.pixel;
    for (int64_t block = 0; block < ring.blocks; ++block, to += ring.block) {
      if (!inside) {
        std::memset(to, 0, size_t(pixels * ring.pixel) * sizeof *to);
        continue;
      }
      for (const AmxSource& source : piece.sources) {
        const int64_t begin = source.first - block * kAmxLanes, end = begin + source.channels;
        if (source.channels == 0 || begin >= kAmxLanes || end <= 0) continue;
        const char* from =
            static_cast<const char*>(source.planes[plane]) + row * pixels * source.channels * (source.half ? 2 : 4);
        if (source.half) {
          source.center ? take_row<Unit, true, true>(to, ring.pixel, source, from, pixels, block)
                        : take_row<Unit, true, false>(to, ring.pixel, source, from, pixels, block);
        } else {
          source.center ? take_row<Unit, false, true>(to, ring.pixel, source, from, pixels, block)
                        : take_row<Unit, false, false>(to, ring.pixel, source, from, pixels, block);
        }
      }
    }
  }
}

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

/// Results [M * 16, 32] of a block of pixels, while those of the block before are stored.
///   rows     nine addresses in the ring: the block's first pixel under the first tap of each kernel row
///   weights  of 32 outputs
template <int M, int N, class Unit>
void multiply(Unit& unit, float* sums, const AmxPiece& piece, const uint16_t* const* rows, int64_t first,
              const uint16_t* weights, Finish<Unit>& before) {
  const int64_t blocks = piece.ring.blocks, taps = piece.ring.taps, pixel = piece.ring.pixel, block = piece.ring.block;
  const int64_t row_bytes = piece.stride * pixel * int64_t(sizeof(uint16_t)), offset = first * piece.stride * pixel;
  const int64_t steps = 9 * blocks * taps, pixels_a_step = (kAmxBlock + steps - 1) / steps;
  Finish<Unit> finish = before;  // a copy, so that its sums stay in registers
  unit.template zero_tiles<M * N>();
  for (int64_t t = 0; t < 9; ++t) {
    const uint16_t* from = rows[t] + offset;
    for (int64_t b = 0; b < blocks; ++b, from += block) {
      for (int64_t tap = 0; tap < taps; ++tap, weights += kAmxStep) {
        step<M, N>(unit, from + tap * pixel, row_bytes, weights);
        for (int64_t i = 0; i < pixels_a_step; ++i) finish.pixel();
      }
    }
  }
  before = finish;
  unit.template store_tiles<M, N>(sums);
}

/// The strip's results in one plane, for one block of outputs.
template <class Unit>
void compute_plane(Unit& unit, const AmxPiece& piece, int64_t plane, int64_t block) {
  const AmxRing& ring = piece.ring;
  const int64_t line = ring.line / piece.stride, pixels = (piece.last_row - piece.first_row) * line;
  const int64_t outputs = piece.out - block * kAmxLanes < kAmxLanes ? piece.out - block * kAmxLanes : kAmxLanes;
  const int64_t size = piece.half ? 2 : 4;
  const uint16_t* rows[9];
  for (int64_t t = 0; t < 9; ++t) {
    const int64_t slot = (plane * piece.stride + t / 3 - 1 + kAmxSlots) % kAmxSlots, w = t % 3;
    rows[t] = piece.ring_values + slot * ring.plane + w % piece.stride * ring.strip +
              w / piece.stride * ring.line * ring.pixel;
  }
  const uint16_t* weights = piece.panels + block * piece.panel_values;
  char* to = static_cast<char*>(piece.planes[plane]) +
             (piece.first_row * piece.out_pixels * piece.out + block * kAmxLanes) * size;

  alignas(64) float sums[2][kAmxBlock * kAmxLanes] = {};
  Finish<Unit> finish{};
  finish.line = line;
  finish.width = piece.out_pixels;
  finish.step = piece.out * size;
  finish.lanes = outputs == kAmxLanes ? ~uint32_t(0) : (uint32_t(1) << outputs) - 1;
  finish.half = piece.half;
  finish.around_cache = piece.around_cache;
  Counted counted;
  int turn = 0;
  for (int64_t first = 0; first < pixels; first += kAmxBlock, turn = 1 - turn) {
    const int64_t left = pixels - first < kAmxBlock ? pixels - first : kAmxBlock;
    const auto multiply_by = [&](auto run) { run(unit, sums[turn], piece, rows, first, weights, finish); };
    const bool wide = outputs > 16;
    if (left > 2 * kAmxRows) {
      multiply_by(wide ? multiply<3, 2, Unit> : multiply<3, 1, Unit>);
    } else if (left > kAmxRows) {
      multiply_by(wide ? multiply<2, 2, Unit> : multiply<2, 1, Unit>);
    } else {
      multiply_by(wide ? multiply<1, 2, Unit> : multiply<1, 1, Unit>);
    }
    counted.merge(finish);  // a block of at most 48 pixels is stored after as many steps
    finish.begin(sums[turn], first, left, to);
  }
  while (finish.left > 0) finish.pixel();
  counted.merge(finish);

  double* moments = piece.moments + (plane - piece.first_plane) * piece.moments_step + block * kAmxLanes;
  for (int64_t lane = 0; lane < outputs; ++lane) {
    moments[lane] = counted.mean[lane];
    moments[piece.out + lane] = counted.m2[lane];
  }
}

template <class Unit>
void run_piece(const AmxPiece& piece) {
  Unit unit(piece);
  std::memset(piece.ring_values, 0, size_t(piece.ring.values) * sizeof(uint16_t));
  int64_t next = piece.first_plane * piece.stride - 1;  // of the inputs
  for (int64_t plane = piece.first_plane; plane < piece.last_plane; ++plane) {
    for (; next <= plane * piece.stride + 1; ++next) take_plane<Unit>(piece, next);
    for (int64_t block = piece.first_block; block < piece.last_block; ++block) {
      compute_plane(unit, piece, plane, block);
    }
  }
}

}  // namespace
}  // namespace sat::cpu
