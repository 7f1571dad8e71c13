// Private: the loops of attention on tiles, over a `Unit` as conv/line_loops.h has it.
//
// For 48 queries of a head: products with 32 keys at a time in six tiles; their largest; exponentials, rounded to bf16,
// and their sums; products with the values, 32 channels at a time. Between two products of tiles stands what vectors
// have to do next, so that both units are busy: the largest of one block of keys while the next is multiplied, the
// exponentials of one block while the last one's meet the values. A score costs about 13 instructions of vectors, and
// that is what bounds it: 600 cycles for 48 queries x 32 keys, where tiles take 384 (heads of 64).
#pragma once

#include <cstring>

#include "sat/tensor/cpu/amx/dense_loops.h"

namespace sat::cpu {
namespace {

constexpr float kLog2OfE = 1.44269504f;

/// 2^x for x <= 0, to 8e-5; 0 below 2^-126. x in n + r with n whole and |r| <= 1/2.
template <class Unit>
[[gnu::always_inline]] inline typename Unit::Vector power_of_two(typename Unit::Vector x) {
  const auto n = Unit::nearest(x), r = Unit::subtract(x, n);
  auto p = Unit::multiply_add(Unit::all(0.0551716276f), r, Unit::all(0.24261114f));
  p = Unit::multiply_add(p, r, Unit::all(0.693260968f));
  p = Unit::multiply_add(p, r, Unit::all(0.999928057f));
  return Unit::times_power(p, n);
}

/// Packs the keys, whose channels are the pairs of a tile's weights, and the values, whose tokens are.
template <class Unit>
void pack_head(const AmxHead& head) {
  using Vector = typename Unit::Vector;
  const AmxHeadSizes sizes = head.sizes;
  uint16_t* to = head.keys;
  for (int64_t i = 0; i < sizes.blocks * sizes.steps * 2; ++i, to += kAmxStep / 2) {
    const int64_t first = i / 2 / sizes.steps * kAmxLanes + i % 2 * 16, channel = i / 2 % sizes.steps * kAmxLanes;
    alignas(64) uint16_t rows[16][kAmxLanes] = {};
    for (int64_t r = 0; r < 16 && first + r < head.tokens; ++r) {
      Vector value[2];
      take_lanes<Unit>(value, head.k + (first + r) * head.channels + channel, first_lanes(head.width - channel));
      Unit::round(rows[r], value[0], value[1], ~uint32_t(0));
    }
    for (int64_t pair = 0; pair < 16; ++pair) {
      for (int64_t r = 0; r < 16; ++r) std::memcpy(to + pair * 32 + r * 2, rows[r] + pair * 2, 2 * sizeof *to);
    }
  }
  to = head.values;
  for (int64_t i = 0; i < sizes.steps * sizes.blocks * 2; ++i) {
    const int64_t channel = i / 2 / sizes.blocks * kAmxLanes + i % 2 * 16, first = i / 2 % sizes.blocks * kAmxLanes;
    const uint32_t lanes = first_lanes(head.width - channel) & 0xFFFF;
    for (int64_t pair = 0; pair < 16; ++pair, to += 32) {
      Vector value[2];
      for (int64_t e = 0; e < 2; ++e) {
        const int64_t token = first + 2 * pair + e;
        const float* from = head.v + (token < head.tokens ? token * head.channels + channel : 0);
        value[e] = Unit::template take<false>(reinterpret_cast<uintptr_t>(from), token < head.tokens ? lanes : 0);
      }
      Unit::pairs(to, value[0], value[1]);
    }
  }
}

/// What becomes of the scores of M * 16 queries.
template <int M, class Unit>
struct Softmax {
  using Vector = typename Unit::Vector;
  static constexpr int64_t kRows = M * kAmxRows;

  const AmxAttention& piece;
  float factor;           // of a score, as an exponent of 2
  Vector largest[kRows];  // of each query, lane by lane; once all are known, what is taken off the exponent
  Vector total[kRows];

  explicit Softmax(const AmxAttention& of) : piece(of), factor(of.scale * kLog2OfE) {
    for (int64_t r = 0; r < kRows; ++r) {
      largest[r] = Unit::all(-__builtin_inff());
      total[r] = Unit::all(0.f);
    }
  }

  /// Scores of a block of keys.
  void take_in(int64_t block) {
    float* scores = piece.scores + block * kAmxRowsStep;
    for (int64_t r = 0; r < kRows; ++r, scores += kAmxLanes) {
      Vector value[2] = {Unit::load(scores), Unit::load(scores + 16)};
      if (piece.added && r < piece.queries) {
        const float* added = piece.added + (r * piece.sizes.blocks + block) * kAmxLanes;
        for (int n = 0; n < 2; ++n) {
          const Vector bias = Unit::multiply(Unit::load(added + 16 * n), Unit::all(kLog2OfE));
          value[n] = Unit::multiply_add(value[n], Unit::all(factor), bias);
          Unit::store(scores + 16 * n, value[n]);
        }
      }
      largest[r] = Unit::larger(largest[r], Unit::larger(value[0], value[1]));
    }
  }

  void know_largest() {
    if (piece.added) factor = 1;
    for (Vector& of_row : largest) {
      alignas(64) float lanes[16];
      Unit::store(lanes, of_row);
      float most = lanes[0];
      for (const float lane : lanes) most = lane > most ? lane : most;
      of_row = Unit::all(-(most * factor));
    }
  }

  /// The weights of a block of keys, not yet divided by their sum.
  void weigh(int64_t block) {
    const float* scores = piece.scores + block * kAmxRowsStep;
    uint16_t* weights = piece.weights + block * kAmxRowsStep;
    for (int64_t r = 0; r < kRows; ++r, scores += kAmxLanes, weights += kAmxLanes) {
      Vector value[2];
      for (int n = 0; n < 2; ++n) {
        value[n] = Unit::multiply_add(Unit::load(scores + 16 * n), Unit::all(factor), largest[r]);
        value[n] = power_of_two<Unit>(value[n]);
      }
      total[r] = Unit::add(total[r], Unit::add(value[0], value[1]));
      Unit::round(weights, value[0], value[1], ~uint32_t(0));
    }
  }

  float total_of(int64_t row) const {
    alignas(64) float lanes[16];
    Unit::store(lanes, total[row]);
    float sum = 0;
    for (const float lane : lanes) sum += lane;
    return sum;
  }
};

template <int M, class Unit>
void attend(Unit& unit, const AmxAttention& piece) {
  const AmxHeadSizes sizes = piece.sizes;
  constexpr int64_t kRowBytes = kAmxLanes * int64_t(sizeof(uint16_t));
  Softmax<M, Unit> softmax(piece);
  for (int64_t block = 0; block < sizes.blocks; ++block) {
    unit.template zero_tiles<2 * M>();
    for (int64_t s = 0; s < sizes.steps; ++s) {
      step<M, 2>(unit, piece.rounded + s * kAmxRowsStep, kRowBytes, piece.keys + (block * sizes.steps + s) * kAmxStep);
    }
    if (block > 0) softmax.take_in(block - 1);
    unit.template store_tiles<M, 2>(piece.scores + block * kAmxRowsStep);
  }
  for (int64_t token = piece.tokens; token < sizes.blocks * kAmxLanes; ++token) {
    float* scores = piece.scores + (sizes.blocks - 1) * kAmxRowsStep + token % kAmxLanes;
    for (int64_t r = 0; r < M * kAmxRows; ++r) scores[r * kAmxLanes] = -__builtin_inff();
  }
  softmax.take_in(sizes.blocks - 1);
  softmax.know_largest();

  softmax.weigh(0);
  for (int64_t s = 0; s < sizes.steps; ++s) {
    unit.template zero_tiles<2 * M>();
    for (int64_t block = 0; block < sizes.blocks; ++block) {
      step<M, 2>(unit, piece.weights + block * kAmxRowsStep, kRowBytes,
                 piece.values + (s * sizes.blocks + block) * kAmxStep);
      if (s == 0 && block + 1 < sizes.blocks) softmax.weigh(block + 1);
    }
    unit.template store_tiles<M, 2>(piece.results);
    const uint32_t lanes = first_lanes(piece.width - s * kAmxLanes);
    for (int64_t r = 0; r < piece.queries; ++r) {
      const float* sums = piece.results + r * kAmxLanes;
      const auto share = Unit::all(1 / softmax.total_of(r));
      Unit::put(piece.y + r * piece.channels + s * kAmxLanes, Unit::multiply(Unit::load(sums), share),
                Unit::multiply(Unit::load(sums + 16), share), lanes, false, false);
    }
  }
}

template <class Unit>
void run_attention(const AmxAttention& piece) {
  Unit unit(piece);
  round_rows<Unit>(piece.rounded, piece.q, piece.queries, piece.channels, piece.width, piece.sizes.steps);
  if (piece.queries > 2 * kAmxRows) {
    attend<3>(unit, piece);
  } else if (piece.queries > kAmxRows) {
    attend<2>(unit, piece);
  } else {
    attend<1>(unit, piece);
  }
}

}  // namespace
}  // namespace sat::cpu
