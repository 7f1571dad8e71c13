// Private: the loops of a convolution of one to three channels on tiles, over a `Unit` as line_loops.h has it, which
// also has interleave().
//
// A record holds, for one position along a line, the values of nine rows side by side, and a zero: the rows are those
// of the 3 x 3 lines that the kernel sees (one channel), or 3 lines of up to three channels. Three records that follow
// each other are 60 bytes: a tile row that begins at a voxel's record holds all its taps: 27 of one
// channel in one step of 15 pairs. So tiles are loaded straight from the records, each row 20
// bytes from the one before.
//
// What binds: 48 voxels x 32 outputs are 96 cycles of tiles, as many to store them, and 3 KB of results in f16: two
// cores that store 30 GB/s past their caches take some 250 cycles for these. All else hides behind that.
#pragma once

#include <cstring>

#include "sat/tensor/cpu/amx/dense_loops.h"
#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"

namespace sat::cpu {
namespace {

inline TileConfiguration tiles_of_records() {
  TileConfiguration tiles;
  tiles.row_bytes[6] = 3 * kAmxRecord * 2;
  tiles.rows[7] = 3 * kAmxRecord / 2;
  return tiles;
}

/// The strip in bf16, each channel's rows apart, zeros behind.
template <class Unit>
void round_strip(const AmxFewChannels& piece) {
  const int64_t channels = piece.channels, positions = piece.voxels + 2;
  uint16_t* to = piece.rounded;
  for (int64_t row = 0; row < 3 * piece.rows; ++row) {
    const float* from = piece.strip + row * positions * channels;
    for (int64_t channel = 0; channel < channels; ++channel, to += piece.row) {
      for (int64_t first = 0; first < piece.row; first += kAmxLanes) {
        const int64_t left = positions - first < kAmxLanes ? positions - first : kAmxLanes;
        typename Unit::Vector value[2];
        if (channels == 1) {
          take_lanes<Unit>(value, from + first, first_lanes(left));
        } else {
          alignas(64) float some[kAmxLanes] = {};
          for (int64_t i = 0; i < left; ++i) some[i] = from[(first + i) * channels + channel];
          value[0] = Unit::load(some);
          value[1] = Unit::load(some + 16);
        }
        Unit::round(to + first, value[0], value[1], ~uint32_t(0));
      }
    }
  }
  std::memset(to, 0, size_t(piece.row) * sizeof *to);
}

template <class Unit>
void make_records(const AmxFewChannels& piece, int64_t line) {
  const int64_t channels = piece.channels, rows = piece.rows;
  const auto row_of = [&](int64_t h, int64_t w, int64_t channel) {
    return piece.rounded + ((h * rows + line + w) * channels + channel) * piece.row;
  };
  for (int64_t step = 0; step < piece.steps; ++step) {
    const uint16_t* from[kAmxRecord - 1];
    for (int64_t i = 0; i < kAmxRecord - 1; ++i) {
      const bool used = piece.steps == 1 || i < 3 * channels;
      from[i] = !used              ? piece.rounded + 3 * rows * channels * piece.row
                : piece.steps == 1 ? row_of(i / 3, i % 3, 0)
                                   : row_of(step, i / channels, i % channels);
    }
    uint16_t* to = piece.records + step * piece.row * kAmxRecord;
    for (int64_t first = 0; first < piece.row; first += kAmxLanes, to += kAmxLanes * kAmxRecord) {
      Unit::interleave(to, from);
      for (const uint16_t*& row : from) row += kAmxLanes;
    }
  }
}

/// Stores and counts the results of a block of voxels.
template <class Unit>
struct VoxelsEnd {
  using Vector = typename Unit::Vector;

  const AmxFewChannels& piece;
  const float* sums = nullptr;
  int64_t left = 0;  // voxels
  char* to = nullptr;
  uint32_t lanes = 0;
  Vector base[2] = {}, sum[2] = {}, square[2] = {};

  explicit VoxelsEnd(const AmxFewChannels& of) : piece(of) {}

  void begin(int64_t line, int64_t block) {
    const int64_t first = block * kAmxLanes, size = piece.half ? 2 : 4;
    to = piece.to + (line * piece.voxels * piece.out + first) * size;
    lanes = first_lanes(piece.outputs - first);
    for (int n = 0; n < 2; ++n) sum[n] = square[n] = Unit::all(0.f);
  }

  void finish() {
    const int64_t step = piece.out * (piece.half ? 2 : 4);
    for (; left > 0; --left, sums += kAmxLanes, to += step) {
      const Vector value[2] = {Unit::load(sums), Unit::load(sums + 16)};
      for (int n = 0; n < 2; ++n) {
        const Vector off = Unit::subtract(value[n], base[n]);
        sum[n] = Unit::add(sum[n], off);
        square[n] = Unit::multiply_add(off, off, square[n]);
      }
      Unit::put(to, value[0], value[1], lanes, piece.half, piece.around_cache);
    }
  }

  void end(int64_t block) {
    alignas(64) float of_sum[kAmxLanes], of_square[kAmxLanes];
    for (int n = 0; n < 2; ++n) {
      Unit::store(of_sum + 16 * n, sum[n]);
      Unit::store(of_square + 16 * n, square[n]);
    }
    for (int64_t lane = 0, o = block * kAmxLanes; lane < kAmxLanes && o < piece.outputs; ++lane, ++o) {
      piece.sums[o] += double(of_sum[lane]);
      piece.squares[o] += double(of_square[lane]);
    }
  }
};

template <int M, class Unit>
void multiply_records(Unit& unit, float* sums, const AmxFewChannels& piece, int64_t first, const uint16_t* weights,
                      VoxelsEnd<Unit>& before) {
  unit.template zero_tiles<2 * M>();
  for (int64_t s = 0; s < piece.steps; ++s) {
    step<M, 2>(unit, piece.records + (s * piece.row + first) * kAmxRecord, kAmxRecord * int64_t(sizeof *weights),
               weights + s * kAmxStep);
  }
  before.finish();
  unit.template store_tiles<M, 2>(sums);
}

template <class Unit>
void run_few_channels(const AmxFewChannels& piece) {
  Unit unit(piece);
  round_strip<Unit>(piece);
  alignas(64) float sums[2][kAmxBlock * kAmxLanes], base[2][kAmxLanes];
  VoxelsEnd<Unit> end(piece);
  for (int64_t line = 0; line < piece.lines; ++line) {
    make_records<Unit>(piece, line);
    for (int64_t block = 0; block * kAmxLanes < piece.outputs; ++block) {
      end.begin(line, block);
      int turn = 0;
      for (int64_t first = 0; first < piece.voxels; first += kAmxBlock, turn = 1 - turn) {
        const int64_t left = piece.voxels - first < kAmxBlock ? piece.voxels - first : kAmxBlock;
        auto form = left > kAmxRows ? multiply_records<2, Unit> : multiply_records<1, Unit>;
        if (left > 2 * kAmxRows) form = multiply_records<3, Unit>;
        form(unit, sums[turn], piece, first, piece.panels + block * piece.steps * kAmxStep, end);
        if (line == 0 && first == 0) std::memcpy(base[block], sums[turn], sizeof base[block]);
        if (first == 0) {
          end.base[0] = Unit::load(base[block]);
          end.base[1] = Unit::load(base[block] + 16);
        }
        end.sums = sums[turn];
        end.left = left;
      }
      end.finish();
      end.end(block);
    }
  }
  std::memcpy(piece.base, base, size_t(piece.outputs) * sizeof *piece.base);
}

}  // namespace
}  // namespace sat::cpu
