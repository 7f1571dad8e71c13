// Private: how the loops of the AMX convolution take their input: rows of raw values, normalised and rounded to bf16 on
// their way into a ring of planes, a few pixels between the steps of a product. Internal linkage, as in line_loops.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "sat/tensor/cpu/amx/conv/piece.h"

namespace sat::cpu {
namespace {

/// Where a plane lies in the ring, in values.
inline int64_t place_of(const AmxRing& ring, int64_t plane) {
  return (plane - ring.first_plane) % ring.slots * ring.plane_step;
}

/// Pixels of a source's row on their way into a block of the ring: the pending norm taken, rounded to bf16.
template <class Unit>
struct Run {
  using Vector = typename Unit::Vector;

  int64_t left = 0;            // pixels
  bool more = false;           // another run follows this one
  uint16_t* to;                // the next pixel's first lane
  uintptr_t from;              // where that lane's value lies, or would: the source may begin further up in the block
  int64_t to_step, from_step;  // to the next pixel, in values and in bytes
  int64_t ahead;               // bytes to the same pixel of the row that is taken next: fetched into the L2 cache
  uint32_t lanes;              // of the block that the source has
  bool half;
  Vector center[2], factor[2], shift[2], slope;

  /// The next pixels, but none of another row.
  [[gnu::always_inline]] void pixels(int64_t count) {
    if (count > left) count = left;
    left -= count;
    for (; count > 0; --count) pixel();
  }

 private:
  [[gnu::always_inline]] void pixel() {
    const uint32_t low = lanes & 0xFFFF, high = lanes >> 16;
    Vector value[2];
    Unit::fetch_far(from + uintptr_t(ahead));
    if (half) {
      value[0] = Unit::template take<true>(from, low);
      value[1] = Unit::template take<true>(from + 32, high);
    } else {
      Unit::fetch_far(from + uintptr_t(ahead) + 64);
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

/// The input planes that the next output plane needs, as runs. Rows outside the volume become zeros on the way, and so
/// do the pixels on both sides of a row.
template <class Unit>
struct Taking {
  const AmxPiece& piece;
  const int64_t needed;               // planes from here on are not for this piece, and may not be there
  int64_t plane = 0, last_plane = 0;  // of the input
  int64_t row = 0, block = 0, source = 0;
  Run<Unit> run{};

  int64_t rows() const { return (piece.last_row - piece.first_row - 1) * piece.stride + 3; }
  /// Of a plane, at most: a block that both sources share takes two.
  int64_t runs() const {
    const bool shared = piece.sources[1].channels > 0 && piece.sources[0].channels % kAmxLanes != 0;
    return rows() * (piece.ring.blocks + (shared ? 1 : 0));
  }

  void begin(int64_t first, int64_t last) {
    plane = first;
    last_plane = last;
    row = block = source = 0;
    run = next();
  }

  void finish() {
    while (run.left > 0 || run.more) {
      if (run.left == 0) run = next();
      run.pixels(run.left);
    }
  }

  /// The next run that has pixels; one without where no plane is left.
  [[gnu::noinline]] Run<Unit> next() {
    const AmxRing& ring = piece.ring;
    const int64_t pixels = piece.in_size[2];
    while (plane < last_plane) {
      const int64_t in_row = piece.first_row * piece.stride - 1 + row;
      const bool inside = plane >= 0 && plane < piece.in_size[0] && in_row >= 0 && in_row < piece.in_size[1];
      uint16_t* to = piece.ring_values + place_of(ring, plane) + row % ring.classes * ring.class_step +
                     block * ring.block_step + (row / ring.classes * ring.line + 1) * ring.pixel;
      if (source == 0) {
        std::memset(to - ring.pixel, 0, size_t(ring.pixel) * sizeof *to);
        std::memset(to + pixels * ring.pixel, 0, size_t(ring.pixel) * sizeof *to);
        if (!inside) std::memset(to, 0, size_t(pixels * ring.pixel) * sizeof *to);
      }
      const AmxSource& from = piece.sources[source];
      const int64_t begin = from.first - block * kAmxLanes, end = begin + from.channels;  // lanes of the block
      if (inside && from.channels > 0 && begin < kAmxLanes && end > 0) {
        const Run<Unit> found = run_of(from, begin, end, to, in_row);
        advance();
        return found;
      }
      advance();
    }
    return Run<Unit>();
  }

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

  /// Of row `in_row` of the current plane.
  Run<Unit> run_of(const AmxSource& from, int64_t begin, int64_t end, uint16_t* to, int64_t in_row) const {
    const int64_t size = from.half ? 2 : 4, row_bytes = piece.in_size[2] * from.channels * size;
    const auto values = reinterpret_cast<uintptr_t>(from.planes[plane]) + uintptr_t(in_row * row_bytes);
    const uint32_t below = begin <= 0 ? 0 : (uint32_t(1) << begin) - 1;
    Run<Unit> result;
    result.left = piece.in_size[2];
    result.more = true;
    result.to = to;
    result.from = values - uintptr_t(begin * size);
    result.to_step = piece.ring.pixel;
    result.from_step = from.channels * size;
    result.ahead = ahead_of(from, in_row, row_bytes, values);
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

  /// Bytes from row `in_row` of the current plane to the row that is taken after it: the next one, or the first of the
  /// next plane; 0 where nothing follows that this piece reads.
  int64_t ahead_of(const AmxSource& from, int64_t in_row, int64_t row_bytes, uintptr_t values) const {
    if (row + 1 < rows() && in_row + 1 < piece.in_size[1]) return row_bytes;
    const int64_t first_row = piece.first_row * piece.stride - 1;
    if (plane + 1 >= piece.in_size[0] || plane + 1 >= needed) return 0;
    const auto next = reinterpret_cast<uintptr_t>(from.planes[plane + 1]);
    return int64_t(next + uintptr_t((first_row < 0 ? 0 : first_row) * row_bytes) - values);
  }
};

}  // namespace
}  // namespace sat::cpu
