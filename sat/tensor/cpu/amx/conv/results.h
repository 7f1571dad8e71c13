// Private: what the loops of the AMX convolution do with results: store them and count their statistics, a pixel at a
// time. Internal linkage, as in line_loops.h.
//
// Statistics: sums of at most 64 values in f32, relative to one of them, so that the sum of squares is at most 65 times
// what remains after the mean is taken out; these runs merge in double.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/conv/piece.h"

namespace sat::cpu {
namespace {

/// Where results of 32 outputs go, and the statistics of a run of pixels.
template <class Unit>
struct Results {
  using Vector = typename Unit::Vector;

  char* to = nullptr;  // where the next pixel's results go
  int64_t count = 0;   // pixels of the run that are stored
  Vector shift[2], sum[2], square[2];

  int64_t step;    // bytes from a pixel's results to the next
  uint32_t lanes;  // which of the 32 outputs exist
  bool half, around_cache;

  /// For outputs from 32 * `block` on.
  void describe(const AmxPiece& piece, int64_t block) {
    const int64_t outputs = piece.out - block * kAmxLanes;
    step = piece.out * (piece.half ? 2 : 4);
    lanes = outputs >= kAmxLanes ? ~uint32_t(0) : (uint32_t(1) << outputs) - 1;
    half = piece.half;
    around_cache = piece.around_cache;
  }

  /// A run begins, whose results are near these.
  void begin_run(Vector low, Vector high) {
    count = 0;
    shift[0] = low;
    shift[1] = high;
    for (int n = 0; n < 2; ++n) sum[n] = square[n] = Unit::all(0.f);
  }

  [[gnu::always_inline]] void add(Vector low, Vector high) {
    const Vector value[2] = {low, high};
    for (int n = 0; n < 2; ++n) {
      const Vector off = Unit::subtract(value[n], shift[n]);
      sum[n] = Unit::add(sum[n], off);
      square[n] = Unit::multiply_add(off, off, square[n]);
    }
    Unit::put(to, low, high, lanes, half, around_cache);
    to += step;
    ++count;
  }
};

/// Count, mean and sum of squared deviations of 32 outputs.
struct Counted {
  double count = 0;
  double mean[kAmxLanes] = {}, m2[kAmxLanes] = {};

  /// Takes in a run, by Chan's formula.
  template <class Unit>
  void merge(const Results<Unit>& run) {
    if (run.count == 0) return;
    alignas(64) float shift[kAmxLanes], sum[kAmxLanes], square[kAmxLanes];
    for (int n = 0; n < 2; ++n) {
      Unit::store(shift + 16 * n, run.shift[n]);
      Unit::store(sum + 16 * n, run.sum[n]);
      Unit::store(square + 16 * n, run.square[n]);
    }
    const double pixels = double(run.count), each = 1 / pixels;
    const double share = pixels / (count + pixels), weight = count * share;
    for (int64_t lane = 0; lane < kAmxLanes; ++lane) {
      const double off = double(sum[lane]) * each;
      double own = double(square[lane]) - double(sum[lane]) * off;
      own = own < 0 ? 0 : own;
      const double delta = double(shift[lane]) + off - mean[lane];
      mean[lane] += delta * share;
      m2[lane] += own + delta * delta * weight;
    }
    count += pixels;
  }

  /// As the moments of one plane and 32 outputs.
  void hand_over(const AmxPiece& piece, int64_t plane, int64_t block) const {
    const int64_t first = block * kAmxLanes, last = piece.out < first + kAmxLanes ? piece.out : first + kAmxLanes;
    double* moments = piece.moments + (plane - piece.first_plane) * piece.moments_step;
    for (int64_t o = first; o < last; ++o) {
      moments[o] = mean[o - first];
      moments[piece.out + o] = m2[o - first];
    }
  }
};

}  // namespace
}  // namespace sat::cpu
