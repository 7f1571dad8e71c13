// Private: the loops of the AMX convolution's form `whole` (stride 1, deep levels), over a `Unit` as line_loops.h has
// it.
//
// A deep level has few pixels and many channels: 18 x 18 x 6 pixels are 4 MB of bf16 for 1024 inputs, and their weights
// 28 MB. A strip of it leaves half of a tile's rows empty, and reads all weights for each of its planes. So here
//  - the planes of a slab are normalised first (amx_take), once for all outputs, and lie end to end in each class of
//    rows: a tile runs across the ends of rows and of planes;
//  - the weights of 16 outputs and `chunk` blocks of inputs stay in the L2 cache (at most 442 KB) while all pixels
//  pass:
//    they are read once from below, and the next ones are fetched meanwhile. Pixels come from the L3 cache, 3 bytes a
//    cycle and 512 inputs;
//  - sums of all pixels are kept from chunk to chunk (160 KB in the example) and stored at the end, plane by plane.
#pragma once

#include <cstdint>

#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/cpu/amx/conv/quad_step.h"
#include "sat/tensor/cpu/amx/conv/results.h"
#include "sat/tensor/cpu/amx/conv/taking.h"

namespace sat::cpu {
namespace {

/// Input planes into the ring, which has a slot for each.
template <class Unit>
void run_take(const AmxPiece& piece) {
  Taking<Unit> taking{piece, piece.last_plane};
  taking.begin(piece.first_plane, piece.last_plane);
  taking.finish();
}

/// Some planes of all rows, for some blocks of 32 outputs.
template <class Unit>
class WholePlanes {
 public:
  WholePlanes(Unit& unit, const AmxPiece& piece) : unit_(unit), piece_(piece), blocks_(piece.whole_blocks) {}

  void run() {
    for (int64_t outputs = piece_.first_block; outputs < piece_.last_block; ++outputs) {
      const int64_t halves = piece_.out - outputs * kAmxLanes > 16 ? 2 : 1;
      for (int64_t half = 0; half < halves; ++half) {
        for (int64_t first = 0; first < piece_.ring.blocks; first += piece_.chunk) sum(2 * outputs + half, first);
      }
      for (int64_t plane = piece_.first_plane; plane < piece_.last_plane; ++plane) store(plane, outputs, halves);
    }
  }

 private:
  using Vector = typename Unit::Vector;
  static constexpr int64_t kBlockLines = kQuadWeights * 2 / 64;  // of the cache
  static constexpr int64_t kCountedRun = 64;                     // pixels whose statistics are summed in f32
  static constexpr int64_t kPixel = kAmxLanes * int64_t(sizeof(uint16_t));

  /// Of 16 outputs, even or odd among such blocks, from a pixel of a class on: [2][4 rows][pixels of a class][16].
  float* sums_of(int64_t panel, int64_t row, int64_t pixel) const {
    return piece_.sums + ((panel % 2 * kQuad + row) * blocks_ * kAmxRows + pixel) * 16;
  }
  int64_t end_of_chunk(int64_t first) const {
    return first + piece_.chunk < piece_.ring.blocks ? first + piece_.chunk : piece_.ring.blocks;
  }
  const uint16_t* weights_of(int64_t panel, int64_t first) const {
    return piece_.panels + panel * piece_.panel_values + first * kQuadWeights;
  }

  /// The products of all pixels with 16 outputs' weights of the chunk of inputs that begins at block `first`.
  void sum(int64_t panel, int64_t first) {
    const uint16_t* const weights = weights_of(panel, first);
    const uint16_t* after = weights;  // of the chunk after this one; itself where there is none
    if (end_of_chunk(first) < piece_.ring.blocks) {
      after = weights_of(panel, end_of_chunk(first));
    } else if (panel % 2 == 0 && 16 * (panel + 1) < piece_.out) {
      after = weights_of(panel + 1, 0);
    }
    for (int64_t block = 0; block < blocks_; ++block) {
      const int64_t pixel = block * kAmxRows;
      float* const sums[kQuad] = {sums_of(panel, 0, pixel), sums_of(panel, 1, pixel), sums_of(panel, 2, pixel),
                                  sums_of(panel, 3, pixel)};
      if (first == 0) {
        unit_.template zero_tiles<kQuad>();
      } else {
        unit_.template load_tile<0>(sums[0], 64);
        unit_.template load_tile<1>(sums[1], 64);
        unit_.template load_tile<2>(sums[2], 64);
        unit_.template load_tile<3>(sums[3], 64);
      }
      multiply(block, first, weights, after);
      unit_.template store_tile<0>(sums[0], 64);
      unit_.template store_tile<1>(sums[1], 64);
      unit_.template store_tile<2>(sums[2], 64);
      unit_.template store_tile<3>(sums[3], 64);
    }
  }

  /// The steps of a block of pixels. Each block fetches a part of the chunk of weights that comes after.
  void multiply(int64_t block, int64_t first, const uint16_t* weights, const uint16_t* after) {
    const AmxRing& ring = piece_.ring;
    const QuadSteps steps{2 * ring.class_step, ring.line * kPixel};
    const int64_t block_bytes = 2 * ring.block_step, count = end_of_chunk(first) - first;
    const int64_t fetched[3] = {0, 2 * steps.row, steps.quad};
    const int64_t lines = (kBlockLines + 3 * blocks_ - 1) / (3 * blocks_);  // of 64 bytes, fetched a step
    const char* planes[4];
    for (int64_t h = 0; h < 4; ++h) {
      const int64_t pixel = (h < 3 ? block : block + 1) * kAmxRows;
      planes[h] = reinterpret_cast<const char*>(piece_.ring_values + place_of(ring, piece_.first_plane - 1 + h % 3) +
                                                pixel * kAmxLanes + first * ring.block_step);
    }
    for (int64_t h = 0; h < 3; ++h) {
      const auto* w = reinterpret_cast<const char*>(weights + h * ring.blocks * kQuadWeights);
      auto later = reinterpret_cast<uintptr_t>(after + h * ring.blocks * kQuadWeights);
      const char* pixels = planes[h];
      for (int64_t b = 0; b < count; ++b, pixels += block_bytes, later += kBlockLines * 64) {
        const char* next = b + 1 < count ? pixels + block_bytes : planes[h + 1];
        for (int64_t d = 0; d < 3; ++d, w += 3 * kQuadTile * 2) {
          const int64_t from = (3 * block + d) * lines, to = from + lines < kBlockLines ? from + lines : kBlockLines;
          const auto take = [&]() __attribute__((always_inline)) {
            for (int64_t i = from; i < to; ++i) Unit::fetch_far(later + uintptr_t(64 * i));
          };
          quad_step(
              unit_, pixels + d * kPixel, w, next + fetched[d], steps, [] {}, take);
        }
        if (b % 2 == 1) unit_.template store_tile<7>(idle_, 64);
      }
    }
  }

  /// Results of a plane and 32 outputs, counted and stored.
  void store(int64_t plane, int64_t outputs, int64_t halves) {
    const int64_t size = piece_.half ? 2 : 4, line = piece_.ring.line, width = piece_.out_pixels;
    const int64_t first = (plane - piece_.first_plane) * (piece_.ring.plane_step / kAmxLanes);
    const Vector none = Unit::all(0.f);
    Results<Unit> results{};
    results.describe(piece_, outputs);
    results.to = static_cast<char*>(piece_.planes[plane]) + outputs * kAmxLanes * size;
    Counted counted;
    for (int64_t row = 0; row < piece_.last_row; ++row) {
      const float* low = sums_of(0, row % kQuad, first + row / kQuad * line);
      const float* high = sums_of(1, row % kQuad, first + row / kQuad * line);
      for (int64_t d = 0; d < width; ++d) {
        const Vector value[2] = {Unit::load(low + 16 * d), halves > 1 ? Unit::load(high + 16 * d) : none};
        if (results.count == 0) results.begin_run(value[0], value[1]);
        results.add(value[0], value[1]);
        if (results.count == kCountedRun) {
          counted.merge(results);
          results.count = 0;
        }
      }
    }
    counted.merge(results);
    counted.hand_over(piece_, plane, outputs);
  }

  Unit& unit_;
  const AmxPiece& piece_;
  const int64_t blocks_;  // of 16 pixels of each class
  alignas(64) float idle_[kAmxRows * 16];
};

template <class Unit>
void run_whole(const AmxPiece& piece) {
  Unit unit(TileConfiguration(), piece);
  WholePlanes<Unit>(unit, piece).run();
}

}  // namespace
}  // namespace sat::cpu
