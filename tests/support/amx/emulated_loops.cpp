// All loops on tiles in portable C++.
#include "tests/support/amx/emulated_loops.h"

#include "sat/tensor/cpu/amx/attention_loops.h"
#include "sat/tensor/cpu/amx/conv/line_loops.h"
#include "sat/tensor/cpu/amx/conv/quad_loops.h"
#include "sat/tensor/cpu/amx/conv/whole_loops.h"
#include "sat/tensor/cpu/amx/dense_loops.h"
#include "sat/tensor/cpu/amx/voxels/few_channels_loops.h"
#include "sat/tensor/cpu/amx/voxels/row_ends.h"
#include "tests/support/amx/emulated_unit.h"

namespace sat::cpu {
namespace {

constexpr int64_t kHalf = sizeof(uint16_t), kSingle = sizeof(float);

struct EmulatedConv : EmulatedUnit {
  EmulatedConv(const TileConfiguration& tiles, const AmxPiece& piece) : EmulatedUnit(tiles) {
    may_touch(piece.ring_values, piece.ring.values * kHalf);
    may_touch(piece.panels, piece.panel_count * piece.panel_values * kHalf);
    may_touch(piece.sums, 2 * piece.whole_blocks * kQuadSums * kSingle);
  }
};

struct EmulatedRows : EmulatedUnit {
  explicit EmulatedRows(const AmxRows& product) : EmulatedUnit(TileConfiguration()) {
    const int64_t blocks = (product.rows + kAmxBlock - 1) / kAmxBlock;
    may_touch(product.rounded, blocks * product.steps * kAmxRowsStep * kHalf);
    may_touch(product.panels, product.last_block * product.steps * kAmxStep * kHalf);
    may_touch(product.sums, 2 * blocks * kAmxRowsStep * kSingle);
  }
};

struct EmulatedFewChannels : EmulatedUnit {
  explicit EmulatedFewChannels(const AmxFewChannels& piece) : EmulatedUnit(tiles_of_records()) {
    may_touch(piece.records, piece.steps * piece.row * kAmxRecord * kHalf);
    may_touch(piece.panels, (piece.outputs + kAmxLanes - 1) / kAmxLanes * piece.steps * kAmxStep * kHalf);
  }

  static void interleave(uint16_t* to, const uint16_t* const* from) {
    for (int64_t i = 0; i < kAmxLanes * kAmxRecord; ++i) {
      to[i] = i % kAmxRecord < kAmxRecord - 1 ? from[i % kAmxRecord][i / kAmxRecord] : uint16_t(0);
    }
  }
};

struct EmulatedAttention : EmulatedUnit {
  explicit EmulatedAttention(const AmxAttention& piece) : EmulatedUnit(TileConfiguration()) {
    const AmxHeadSizes sizes = piece.sizes;
    may_touch(piece.rounded, sizes.steps * kAmxRowsStep * kHalf);
    may_touch(piece.weights, sizes.blocks * kAmxRowsStep * kHalf);
    may_touch(piece.keys, sizes.steps * sizes.blocks * kAmxStep * kHalf);
    may_touch(piece.values, sizes.steps * sizes.blocks * kAmxStep * kHalf);
  }
};

void lines_emulated(const AmxPiece& piece) { run_lines<EmulatedConv>(piece); }
void quads_emulated(const AmxPiece& piece) { run_quads<EmulatedConv>(piece); }
void take_emulated(const AmxPiece& piece) { run_take<EmulatedConv>(piece); }
void whole_emulated(const AmxPiece& piece) { run_whole<EmulatedConv>(piece); }
void dense_emulated(const AmxDense& layer) { run_dense<EmulatedRows>(layer); }
void head_emulated(const AmxHead& head) { pack_head<EmulatedUnit>(head); }
void attention_emulated(const AmxAttention& piece) { run_attention<EmulatedAttention>(piece); }
void up_emulated(const AmxUp& piece) { run_up<EmulatedRows>(piece); }
void scores_emulated(const AmxScores& piece) { run_scores<EmulatedRows>(piece); }
void few_channels_emulated(const AmxFewChannels& piece) { run_few_channels<EmulatedFewChannels>(piece); }

}  // namespace

const AmxLoops kEmulatedTiles{{lines_emulated, quads_emulated, take_emulated, whole_emulated},
                              dense_emulated,
                              head_emulated,
                              attention_emulated,
                              up_emulated,
                              scores_emulated,
                              few_channels_emulated};

}  // namespace sat::cpu
