// Private: how the products of voxels end, over a `Unit` as line_loops.h has it: those of the transposed convolution at
// the corners that each voxel becomes, those of masks in scores. The product is dense_loops.h's.
//
// What binds: a voxel of the transposed convolution 64 -> 64 is 64 cycles of tiles and 1 KB of results in f16; two
// cores that store 30 GB/s past their caches take twice as long for the latter. 48 voxels' scores of 32 prompts are 192
// cycles of tiles (64 channels), and 96 vectors of 17 instructions and a division: 1,600 cycles, which the tiles hide
// behind.
#pragma once

#include "sat/tensor/cpu/amx/attention_loops.h"
#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"

namespace sat::cpu {
namespace {

template <class Unit>
struct UpFinisher {
  using Vector = typename Unit::Vector;

  const AmxUp& piece;
  int64_t left = 0;  // rows
  const float* sums = nullptr;
  char* const* place = nullptr;
  int64_t offset = 0;
  Vector bias[2] = {};

  explicit UpFinisher(const AmxUp& of) : piece(of) {}

  void begin(const float* from, int64_t block) {
    const int64_t corner = block * kAmxLanes / piece.corner, first = block * kAmxLanes % piece.corner;
    left = piece.rows;
    sums = from;
    place = piece.places[corner / 4];
    offset = piece.offsets[corner % 4] + first * (piece.half ? 2 : 4);
    for (int n = 0; n < 2; ++n) bias[n] = Unit::all(0.f);
    if (piece.bias) take_lanes<Unit>(bias, piece.bias + first, ~uint32_t(0));
  }

  [[gnu::always_inline]] void row() {
    if (left == 0) return;
    --left;
    Unit::put(*place++ + offset, Unit::add(Unit::load(sums), bias[0]), Unit::add(Unit::load(sums + 16), bias[1]),
              ~uint32_t(0), piece.half, piece.around_cache);
    sums += kAmxLanes;
  }
};

/// tanh(x / 2) = (1 - e^-x) / (1 + e^-x), to 4e-5: what x itself is off by, of operands in bf16, is far more.
template <class Unit>
[[gnu::always_inline]] inline typename Unit::Vector tanh_of_half(typename Unit::Vector x) {
  const auto held = Unit::larger(Unit::all(-20.f), Unit::smaller(Unit::all(20.f), x)), one = Unit::all(1.f);
  const auto p = power_of_two<Unit>(Unit::multiply(held, Unit::all(-kLog2OfE)));
  return Unit::divide(Unit::subtract(one, p), Unit::add(one, p));
}

template <class Unit>
struct ScoreFinisher {
  using Vector = typename Unit::Vector;

  const AmxScores& piece;
  int64_t left = 0;  // rows
  const float *sums = nullptr, *importance = nullptr;
  float* const* place = nullptr;
  int64_t first = 0;
  uint32_t lanes = 0;

  explicit ScoreFinisher(const AmxScores& of) : piece(of) {}

  void begin(const float* from, int64_t block) {
    left = piece.rows;
    sums = from;
    importance = piece.importance;
    place = piece.places;
    first = block * kAmxLanes;
    lanes = first_lanes(piece.out - first);
  }

  [[gnu::always_inline]] void row() {
    if (left == 0) return;
    --left;
    float* to = *place++ + first;
    const Vector share = Unit::all(*importance++);
    Vector score[2];
    take_lanes<Unit>(score, to, lanes);
    for (int n = 0; n < 2; ++n) {
      score[n] = Unit::multiply_add(share, tanh_of_half<Unit>(Unit::load(sums + 16 * n)), score[n]);
    }
    Unit::put(to, score[0], score[1], lanes, false, false);
    sums += kAmxLanes;
  }
};

template <class Unit>
void run_up(const AmxUp& piece) {
  Unit unit(piece);
  UpFinisher<Unit> finisher(piece);
  run_rows(unit, piece, finisher);
}

template <class Unit>
void run_scores(const AmxScores& piece) {
  Unit unit(piece);
  ScoreFinisher<Unit> finisher(piece);
  run_rows(unit, piece, finisher);
}

}  // namespace
}  // namespace sat::cpu
