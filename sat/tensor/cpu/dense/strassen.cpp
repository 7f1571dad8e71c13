// Strassen's algorithm on panels that stay in the second-level cache.
//
// At one level, with blocks of A (rows x inputs), B (inputs x outputs) and C (rows x outputs):
//   M1 = (A11 + A22)(B11 + B22)   M2 = (A21 + A22) B11   M3 = A11 (B12 - B22)   M4 = A22 (B21 - B11)
//   M5 = (A11 + A12) B22          M6 = (A21 - A11)(B11 + B12)                   M7 = (A12 - A22)(B21 + B22)
//   C11 = M1 + M4 - M5 + M7   C12 = M3 + M5   C21 = M2 + M4   C22 = M1 - M2 + M3 + M6
// Two levels are this formula with itself in place of the products: block 2 * outer + inner of 4 on each side. The
// weights' combinations are made when the layer is packed. A piece of work is a group of 4 * kPartRows rows: their 49
// combinations are made once and stay in the cache, and each product of a register tile is added, before it gets cold,
// to the (on average 2.9) blocks of C that it belongs to.
#include "sat/tensor/cpu/dense/strassen.h"

#include <algorithm>
#include <array>
#include <vector>

#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/cpu/workspace.h"

namespace sat::cpu {

namespace {

constexpr int64_t kProducts = 7, kBlocks = 2;    // blocks of an axis
constexpr int64_t kPartRows = 24;                // rows of a block in a group; a multiple of kTileRows
constexpr int64_t kSpan = kTilePanels * kPanel;  // outputs of a register tile
constexpr int64_t kChunk = 1024;                 // most inputs of a chunk
constexpr int64_t kMostTargets = 2;              // blocks of C that a product belongs to
constexpr int64_t kEnoughPieces = 12;            // to share out among the threads
constexpr int64_t kFewRows = 320;                // below this the combinations cost more than they save

/// sign * block (row, column) of a matrix of blocks.
struct Part {
  int64_t row, column;
  float sign;
};
using Parts = std::vector<Part>;

struct Formula {
  std::array<Parts, kProducts> a, b, c;
};

const Formula& formula() {
  static const Formula known{{{{{0, 0, 1}, {1, 1, 1}},
                               {{1, 0, 1}, {1, 1, 1}},
                               {{0, 0, 1}},
                               {{1, 1, 1}},
                               {{0, 0, 1}, {0, 1, 1}},
                               {{1, 0, 1}, {0, 0, -1}},
                               {{0, 1, 1}, {1, 1, -1}}}},
                             {{{{0, 0, 1}, {1, 1, 1}},
                               {{0, 0, 1}},
                               {{0, 1, 1}, {1, 1, -1}},
                               {{1, 0, 1}, {0, 0, -1}},
                               {{1, 1, 1}},
                               {{0, 0, 1}, {0, 1, 1}},
                               {{1, 0, 1}, {1, 1, 1}}}},
                             {{{{0, 0, 1}, {1, 1, 1}},
                               {{1, 0, 1}, {1, 1, -1}},
                               {{0, 1, 1}, {1, 1, 1}},
                               {{0, 0, 1}, {1, 0, 1}},
                               {{0, 0, -1}, {0, 1, 1}},
                               {{1, 1, 1}},
                               {{0, 0, 1}}}}};
  return known;
}

struct Sizes {
  int64_t chunks, depth, outputs;  // inputs of a block in a chunk, outputs of a block

  Sizes(int64_t in, int64_t out)
      : chunks(divide_up(in, kChunk)), depth(in / (kBlocks * chunks)), outputs(out / kBlocks) {}
  int64_t panels() const { return outputs / kPanel; }
  int64_t spans() const { return divide_up(outputs, kSpan); }
  int64_t product_floats() const { return panels() * depth * kPanel; }
};

/// What one thread works with: the combinations of a group's rows, the blocks of C of the spans at hand, a tile's sums.
struct Room {
  float *combined, *blocks;

  static int64_t floats(const Sizes& sizes, int64_t spans) {
    return kProducts * kPartRows * sizes.depth + spans * block_floats() * kBlocks * kBlocks;
  }
  Room(float* room, const Sizes& sizes) : combined(room), blocks(combined + kProducts * kPartRows * sizes.depth) {}
  static int64_t block_floats() { return kPartRows * kSpan; }
  float* block(int64_t span, const Part& part) {
    return blocks + ((span * kBlocks + part.row) * kBlocks + part.column) * block_floats();
  }
};

/// combined [49][kPartRows][depth] of the rows [first, first + 4 * kPartRows) of a matrix that ends at `last`.
void combine_rows(float* combined, const Dense& layer, const Sizes& sizes, int64_t first, int64_t last,
                  int64_t part_rows, int64_t chunk) {
  const std::vector<float> zeros(size_t(sizes.depth), 0.f);
  for (size_t p = 0; p < size_t(kProducts); ++p) {
    const Parts& parts = formula().a[p];
    float* to = combined + int64_t(p) * kPartRows * sizes.depth;
    for (int64_t r = 0; r < part_rows; ++r, to += sizes.depth) {
      const float* from[4];
      float sign[4];
      for (size_t t = 0; t < parts.size(); ++t) {
        const int64_t row = first + parts[t].row * part_rows + r;
        const int64_t at = (chunk * kBlocks + parts[t].column) * sizes.depth;
        from[t] = row < last ? layer.x + row * layer.in + at : zeros.data();
        sign[t] = parts[t].sign;
      }
      avx2::combine(to, from, sign, int64_t(parts.size()), sizes.depth);
    }
  }
}

/// Adds the products of one chunk to the blocks of C of a span.
void multiply(const Simd& simd, Room& room, const Dense& layer, const Sizes& sizes, int64_t chunk, int64_t span,
              int64_t place, int64_t part_rows) {
  const int64_t first_panel = span * kTilePanels, panels = std::min(kTilePanels, sizes.panels() - first_panel);
  uint32_t touched = chunk == 0 ? 0 : ~0u;
  for (size_t p = 0; p < size_t(kProducts); ++p) {
    const float* product = layer.panels + (chunk * kProducts + int64_t(p)) * sizes.product_floats();
    const float* first = product + first_panel * sizes.depth * kPanel;
    const Parts& targets = formula().c[p];
    for (int64_t row = 0; row < part_rows; row += kTileRows) {
      // The first few tiles fetch what the next product reads, a part each.
      const int64_t tile = std::min(row / kTileRows, panels - 1);
      const float* soon = first + sizes.product_floats() + tile * sizes.depth * kPanel;
      const float* rows[kTileRows];
      for (int64_t r = 0; r < kTileRows; ++r) {
        rows[r] = room.combined + (int64_t(p) * kPartRows + row + r) * sizes.depth;
      }
      TileTarget to[kMostTargets];
      for (size_t t = 0; t < targets.size(); ++t) {
        const bool afresh = (touched >> (targets[t].row * kBlocks + targets[t].column) & 1) == 0;
        to[t] = {room.block(place, targets[t]) + row * panels * kPanel, panels * kPanel, targets[t].sign, afresh};
      }
      simd.tile_onto(to, int64_t(targets.size()), rows, {first, sizes.depth, panels, soon});
    }
    for (const Part& target : targets) touched |= 1u << (target.row * kBlocks + target.column);
  }
}

/// Finishes the rows of a group in a span's four runs of outputs.
void store(const Simd& simd, Room& room, const Dense& layer, const Sizes& sizes, int64_t first, int64_t last,
           int64_t part_rows, int64_t span, int64_t place) {
  const int64_t width = std::min(kSpan, sizes.outputs - span * kSpan);
  for (int64_t row = 0; row < kBlocks; ++row) {
    for (int64_t r = 0; r < part_rows && first + row * part_rows + r < last; ++r) {
      for (int64_t column = 0; column < kBlocks; ++column) {
        layer.finish(simd, first + row * part_rows + r, column * sizes.outputs + span * kSpan, width,
                     room.block(place, {row, column, 1}) + r * width);
      }
    }
  }
}

}  // namespace

bool strassen_fits(int64_t in, int64_t out, int64_t rows) {
  const int64_t chunks = divide_up(in, kChunk);
  return rows >= kFewRows && in > 0 && in % (kBlocks * chunks * 8) == 0 && out > 0 && out % (kBlocks * kPanel) == 0;
}

Tensor strassen_panels(const Tensor& weight) {
  const Sizes sizes(weight.shape[1], weight.shape[0]);
  const int64_t in = weight.shape[1];
  Tensor panels({sizes.chunks, kProducts, sizes.panels(), sizes.depth, kPanel});
  const float* from = weight.address<float>();
  float* to = panels.address<float>();
  parallel_for(sizes.chunks * kProducts * sizes.panels(), 1, [&](int64_t item, int64_t) {
    const int64_t panel = item % sizes.panels(), product = item / sizes.panels();
    const int64_t span = panel / kTilePanels,
                  width = std::min(kTilePanels, sizes.panels() - span * kTilePanels) * kPanel;
    const Parts& parts = formula().b[size_t(product % kProducts)];
    float* lanes = to + product * sizes.product_floats() + span * kSpan * sizes.depth + panel % kTilePanels * kPanel;
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      for (int64_t k = 0; k < sizes.depth; ++k) {
        double sum = 0;
        for (const Part& part : parts) {
          const int64_t o = part.column * sizes.outputs + panel * kPanel + lane;
          const int64_t i = (product / kProducts * kBlocks + part.row) * sizes.depth + k;
          sum += double(part.sign) * double(from[o * in + i]);
        }
        lanes[k * width + lane] = float(sum);
      }
    }
  });
  return panels;
}

void run_strassen(const Simd& simd, const Dense& layer, int64_t matrices) {
  const Sizes sizes(layer.in, layer.out);
  const int64_t rows = layer.rows / std::max<int64_t>(1, matrices), groups = divide_up(rows, kBlocks * kPartRows);
  // More pieces for more threads, at the price of making the combinations of the rows once more in each.
  const int64_t ranges = matrices * groups < kEnoughPieces ? std::min<int64_t>(sizes.spans(), 2) : 1,
                spans = divide_up(sizes.spans(), ranges);
  const int64_t held = sizes.chunks > 1 ? spans : 1;  // spans whose sums wait for the next chunk
  Workspace workspace(Room::floats(sizes, held));
  parallel_for(matrices * groups * ranges, 1, [&](int64_t piece, int64_t) {
    const int64_t group = piece / ranges, matrix = group / groups;
    const int64_t first = matrix * rows + group % groups * kBlocks * kPartRows,
                  last = std::min((matrix + 1) * rows, first + kBlocks * kPartRows);
    const int64_t part_rows = divide_up(divide_up(last - first, kBlocks), kTileRows) * kTileRows;
    const int64_t first_span = piece % ranges * spans, last_span = std::min(sizes.spans(), first_span + spans);
    Workspace::Use use(workspace);
    Room room(use.data(), sizes);
    for (int64_t chunk = 0; chunk < sizes.chunks; ++chunk) {
      combine_rows(room.combined, layer, sizes, first, last, part_rows, chunk);
      for (int64_t span = first_span; span < last_span; ++span) {
        const int64_t place = held > 1 ? span - first_span : 0;
        multiply(simd, room, layer, sizes, chunk, span, place, part_rows);
        if (chunk + 1 == sizes.chunks) store(simd, room, layer, sizes, first, last, part_rows, span, place);
      }
    }
  });
}

}  // namespace sat::cpu
