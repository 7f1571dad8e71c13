// Private: the loops of dense layers on tiles, over a `Unit` as conv/line_loops.h has it.
//
// Blocking, and why:
//  - 48 rows x 32 outputs are summed in 6 of the 8 tiles: a step of 32 inputs loads 5 KB and multiplies for 96 cycles.
//    All of it from the L2 cache would be 53 bytes a cycle, and that gives 45. So the inputs are taken in chunks whose
//    weights (24 KB) stay in the L1 cache while all blocks of the group's rows pass: 32 bytes a cycle are left. Sums
//    wait in memory for the next chunk, 6 KB each way in 12 steps.
//  - Rows are rounded once, in the order in which tiles read them: a tile is 1 KB of consecutive bytes.
//  - The vector units have nothing to do while tiles multiply, and a GELU costs as much as the product that it follows.
//    So the results of one block of outputs are finished (bias, activation, residual) between the steps of the next.
#pragma once

#include <cstring>

#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/cpu/amx/tile_configuration.h"
#include "sat/tensor/cpu/amx/tile_step.h"

namespace sat::cpu {
namespace {

/// The first `count` of 32 lanes.
inline uint32_t first_lanes(int64_t count) {
  return count >= kAmxLanes ? ~uint32_t(0) : count <= 0 ? 0 : (uint32_t(1) << count) - 1;
}

/// The 32 floats from `from` on of which `lanes` are there, as two vectors; zeros elsewhere.
template <class Unit>
[[gnu::always_inline]] inline void take_lanes(typename Unit::Vector* value, const float* from, uint32_t lanes) {
  const auto at = reinterpret_cast<uintptr_t>(from);
  value[0] = Unit::template take<false>(at, lanes & 0xFFFF);
  value[1] = Unit::template take<false>(at + 64, lanes >> 16);
}

/// Rows of `in` values, `stride` apart, to bf16: [blocks of 48][steps][48][32]. Zeros behind the last value, and behind
/// the last row up to a whole tile.
template <class Unit>
void round_rows(uint16_t* to, const float* from, int64_t rows, int64_t stride, int64_t in, int64_t steps) {
  for (int64_t row = 0; row < (rows + kAmxRows - 1) / kAmxRows * kAmxRows; ++row, from += stride) {
    uint16_t* values = to + (row / kAmxBlock * steps * kAmxBlock + row % kAmxBlock) * kAmxLanes;
    for (int64_t step = 0; step < steps; ++step, values += kAmxRowsStep) {
      typename Unit::Vector value[2] = {Unit::all(0.f), Unit::all(0.f)};
      if (row < rows) take_lanes<Unit>(value, from + step * kAmxLanes, first_lanes(in - step * kAmxLanes));
      Unit::round(values, value[0], value[1], ~uint32_t(0));
    }
  }
}

/// x * (1/2 + c * P(c^2)) with c = x held within 4.25. P is fitted for the least largest error of the result: below
/// 1e-4, and exactly x, or zero to a rounding, outside. What follows rounds to bf16, which moves 4 by 8e-3.
template <class Unit>
[[gnu::always_inline]] inline typename Unit::Vector gelu_of(typename Unit::Vector x) {
  constexpr float kFitted[] = {-6.29396046e-09f, 2.59563365e-07f, -6.27510326e-06f, 0.000100658857f,
                               -0.00115621404f,  0.00999228656f,  -0.0666671917f,   0.399111181f};
  const auto held = Unit::larger(Unit::all(-4.25f), Unit::smaller(Unit::all(4.25f), x));
  const auto square = Unit::multiply(held, held);
  auto p = Unit::all(6.71252845e-11f);
  for (const float coefficient : kFitted) p = Unit::multiply_add(p, square, Unit::all(coefficient));
  return Unit::multiply(x, Unit::multiply_add(held, p, Unit::all(0.5f)));
}

/// Finishes the sums of a block of 32 outputs, one row at a call.
template <class Unit>
struct Finisher {
  using Vector = typename Unit::Vector;

  const AmxDense& layer;
  int64_t left = 0;  // rows
  const float *sums = nullptr, *residual = nullptr;
  float* to = nullptr;
  uint32_t lanes = 0;
  Vector bias[2] = {}, scale[2] = {};

  explicit Finisher(const AmxDense& of) : layer(of) {}

  void begin(const float* from, int64_t block) {
    const int64_t first = block * kAmxLanes;
    left = layer.rows;
    sums = from;
    to = layer.y + first;
    lanes = first_lanes(layer.out - first);
    residual = layer.residual ? layer.residual + first : nullptr;
    for (int n = 0; n < 2; ++n) {
      bias[n] = Unit::all(0.f);
      scale[n] = Unit::all(1.f);
    }
    if (layer.bias) take_lanes<Unit>(bias, layer.bias + first, lanes);
    if (layer.scale) take_lanes<Unit>(scale, layer.scale + first, lanes);
  }

  [[gnu::always_inline]] void row() {
    if (left == 0) return;
    --left;
    Vector value[2] = {Unit::add(Unit::load(sums), bias[0]), Unit::add(Unit::load(sums + 16), bias[1])};
    if (residual) {
      Vector before[2];
      take_lanes<Unit>(before, residual, lanes);
      for (int n = 0; n < 2; ++n) value[n] = Unit::multiply_add(scale[n], value[n], before[n]);
      residual += layer.out;
    } else if (layer.gelu) {
      for (Vector& some : value) some = gelu_of<Unit>(some);
    } else if (layer.relu) {
      for (Vector& some : value) some = Unit::larger(Unit::all(0.f), some);
    }
    Unit::put(to, value[0], value[1], lanes, false, false);
    to += layer.out;
    sums += kAmxLanes;
  }
};

/// Adds some steps to the sums of a block of rows, and finishes some rows of what was summed before, in each step.
template <int M, class Unit, class Finish>
void accumulate(Unit& unit, float* sums, const uint16_t* rows, const uint16_t* weights, int64_t steps, bool afresh,
                Finish& before, int64_t finished_a_step) {
  if (afresh) {
    unit.template zero_tiles<2 * M>();
  } else {
    unit.template load_sums<M, 2>(sums);
  }
  for (int64_t s = 0; s < steps; ++s) {
    step<M, 2>(unit, rows + s * kAmxRowsStep, kAmxLanes * int64_t(sizeof *rows), weights + s * kAmxStep);
    for (int64_t i = 0; i < finished_a_step; ++i) before.row();
  }
  unit.template store_tiles<M, 2>(sums);
}

/// All of a product. `before` finishes the sums of a block of outputs, a row at a call, while the next one is summed.
template <class Unit, class Finish>
void run_rows(Unit& unit, const AmxRows& layer, Finish& before) {
  round_rows<Unit>(layer.rounded, layer.x, layer.rows, layer.in, layer.in, layer.steps);
  const int64_t row_blocks = (layer.rows + kAmxBlock - 1) / kAmxBlock, steps = row_blocks * layer.steps;
  const int64_t finished_a_step = (layer.rows + steps - 1) / steps;
  for (int64_t block = layer.first_block; block < layer.last_block; ++block) {
    float* sums = layer.sums + (block - layer.first_block) % 2 * row_blocks * kAmxRowsStep;
    for (int64_t first = 0; first < layer.steps; first += layer.chunk) {
      const uint16_t* weights = layer.panels + (block * layer.steps + first) * kAmxStep;
      const int64_t some = layer.steps - first < layer.chunk ? layer.steps - first : layer.chunk;
      for (int64_t r = 0; r < row_blocks; ++r) {
        const int64_t left = layer.rows - r * kAmxBlock;
        auto form = left > kAmxRows ? accumulate<2, Unit, Finish> : accumulate<1, Unit, Finish>;
        if (left > 2 * kAmxRows) form = accumulate<3, Unit, Finish>;
        form(unit, sums + r * kAmxRowsStep, layer.rounded + (r * layer.steps + first) * kAmxRowsStep, weights, some,
             first == 0, before, finished_a_step);
      }
    }
    while (before.left > 0) before.row();
    before.begin(sums, block);
  }
  while (before.left > 0) before.row();
}

template <class Unit>
void run_dense(const AmxDense& layer) {
  Unit unit(layer);
  Finisher<Unit> finisher(layer);
  run_rows(unit, layer, finisher);
}

}  // namespace
}  // namespace sat::cpu
