// Private: the blocked matrix product behind the vector forms of every dense op: dense layers, convolutions (whose rows
// are voxels and whose taps are the kernel's positions), attention and mask scores. Each op passes one functor that
// says where a row's numbers lie, and another, the epilogue, that takes its results.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

constexpr int64_t kGroupRows = 192;  // rows whose sums wait in the cache while a block of the weights passes
constexpr int64_t kDepth = 576;      // most terms of a sum in registers
constexpr int64_t kCentredRows = 64;
constexpr int64_t kMostPieces = 4096;  // enough to share out among many threads
constexpr int64_t kTapChannels = 64;
constexpr int64_t kBlockTaps = 32;
// Sums of this many terms and more, in layers this wide, are taken in shorter blocks, and every few blocks the sum so
// far is added up in double: the instance norms over the few voxels of the deepest levels magnify what f32 would lose.
// Narrower layers lie above those levels, have most of SAT-Nano's work, and would be a fifth slower.
constexpr int64_t kLongSum = 3456;
constexpr int64_t kLongSumOutputs = 128;
constexpr int64_t kLongSumDepth = 64;
constexpr size_t kLongSumBlocks = 8;

/// result[r, o] = sum over taps t and channels i of row(r, t)[i] * weight[o, t, i].
struct Product {
  const float* panels;  // [ceil(out / 16), taps, in, 16]
  int64_t rows, taps, out;
  std::array<int64_t, 2> in;  // channels of the (up to two) inputs that are joined
  bool centred = false;       // see may_centre()

  bool long_sum() const { return out >= kLongSumOutputs && (in[0] + in[1]) * taps >= kLongSum; }
};

/// Whether results can be given less their mean over all rows, taken before they are rounded: where the rows make one
/// group and sums are taken in double. A norm over few voxels then loses nothing to a mean far beyond the deviation.
inline bool may_centre(const Product& product) { return product.long_sum() && product.rows <= kCentredRows; }

/// A run of terms: `channels` channels from `channel` of one input at `taps` taps from `tap`.
struct Terms {
  int input;
  int64_t channel, channels, tap, taps;
};

/// How a product is shared out: groups of rows x spans of outputs, a piece being `grain` of these.
struct Share {
  int64_t group_rows, groups, spans, grain;
  int64_t count() const { return divide_up(groups * spans, grain); }  // of pieces
};
Share share_of(const Product& product);

/// The order in which a product's terms are summed. It depends on the weights' shape alone.
std::vector<Terms> order_of_terms(const Product& product);

/// kDepth zeros: what a tap outside the grid and a row beyond the last one read.
extern const float kZeros[kDepth];

/// Runs a product on the current context's threads. The result of a row does not depend on the other rows.
///   Rows: a type whose nested Group(const Rows&, first row, count) is made for every group of up to kGroupRows rows;
///     group.point(const float** pointers, first row in group, const Terms&) sets pointers[t * 6 + r] for 6 rows.
///   epilogue(const Group&, row in group, first output, outputs, const float* sums) takes the results of one row.
///   after(piece, first output, outputs, const float* sums, rows, row width), after a group: its results once more,
///   with the piece that it belongs to.
template <class Rows, class Epilogue, class After>
void run_product(const Simd& simd, const Product& product, const Rows& rows, const Epilogue& epilogue,
                 const After& after) {
  if (product.rows <= 0 || product.out <= 0) return;
  const std::vector<Terms> order = order_of_terms(product);
  const int64_t in = product.in[0] + product.in[1], panels = divide_up(product.out, kPanel);
  const auto [group_rows, groups, spans, grain] = share_of(product);
  const bool long_sum = product.long_sum();

  const auto multiply = [&, group_rows = group_rows, groups = groups, grain = grain](int64_t item) {
    const int64_t first_panel = item / groups * kTilePanels, first_row = item % groups * group_rows;
    const int64_t width = std::min(kTilePanels, panels - first_panel) * kPanel;
    const int64_t count = std::min(group_rows, product.rows - first_row);
    const typename Rows::Group group(rows, first_row, count);
    alignas(64) float sums[kGroupRows * kTilePanels * kPanel];
    const float* pointers[kBlockTaps * kTileRows];
    std::vector<double> totals(long_sum ? size_t(count * width) : 0);

    for (size_t block = 0; block < order.size(); ++block) {
      const Terms& terms = order[block];
      const int64_t channel = terms.channel + (terms.input ? product.in[0] : 0);
      const TileWeights weights{product.panels + ((first_panel * product.taps + terms.tap) * in + channel) * kPanel,
                                terms.taps,
                                in * kPanel,
                                terms.channels,
                                width / kPanel,
                                product.taps * in * kPanel};
      const bool afresh = block == 0 || (long_sum && block % kLongSumBlocks == 0);
      for (int64_t row = 0; row < count; row += kTileRows) {
        group.point(pointers, row, terms);
        simd.tile(sums + row * width, pointers, weights, afresh);
      }
      if ((block + 1) % kLongSumBlocks != 0 && block + 1 != order.size()) continue;
      for (size_t i = 0; i < totals.size(); ++i) totals[i] += double(sums[i]);
    }
    for (int64_t o = 0; product.centred && o < width; ++o) {
      double mean = 0;
      for (int64_t row = 0; row < count; ++row) mean += totals[size_t(row * width + o)] / double(count);
      for (int64_t row = 0; row < count; ++row) totals[size_t(row * width + o)] -= mean;
    }
    for (size_t i = 0; i < totals.size(); ++i) sums[i] = float(totals[i]);
    const int64_t first = first_panel * kPanel, outputs = std::min(width, product.out - first);
    for (int64_t row = 0; row < count; ++row) epilogue(group, row, first, outputs, sums + row * width);
    after(item / grain, first, outputs, sums, count, width);
  };
  parallel_for(groups * spans, grain, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) multiply(item);
  });
}

template <class Rows, class Epilogue>
void run_product(const Simd& simd, const Product& product, const Rows& rows, const Epilogue& epilogue) {
  run_product(simd, product, rows, epilogue, [](int64_t, int64_t, int64_t, const float*, int64_t, int64_t) {});
}

/// Rows of a matrix [rows, stride] in memory: the Rows of a product with one tap.
struct MatrixRows {
  const float* x;
  int64_t stride;

  struct Group {
    const MatrixRows& rows;
    int64_t first, count;

    Group(const MatrixRows& from, int64_t first_row, int64_t row_count)
        : rows(from), first(first_row), count(row_count) {}
    void point(const float** pointers, int64_t row, const Terms& terms) const {
      for (int64_t r = 0; r < kTileRows; ++r) {
        pointers[r] = row + r < count ? rows.x + (first + row + r) * rows.stride + terms.channel : kZeros;
      }
    }
  };
};

}  // namespace sat::cpu
