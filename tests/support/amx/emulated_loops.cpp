// The loops on tiles, of the convolution, of dense layers and of attention, in portable C++.
#include "tests/support/amx/emulated_loops.h"

#include "sat/tensor/cpu/amx/attention_loops.h"
#include "sat/tensor/cpu/amx/conv/line_loops.h"
#include "sat/tensor/cpu/amx/conv/quad_loops.h"
#include "sat/tensor/cpu/amx/conv/whole_loops.h"
#include "sat/tensor/cpu/amx/dense_loops.h"
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

struct EmulatedDense : EmulatedUnit {
  explicit EmulatedDense(const AmxDense& layer) : EmulatedUnit(TileConfiguration()) {
    const int64_t blocks = (layer.rows + kAmxBlock - 1) / kAmxBlock;
    may_touch(layer.rounded, blocks * layer.steps * kAmxRowsStep * kHalf);
    may_touch(layer.panels, layer.last_block * layer.steps * kAmxStep * kHalf);
    may_touch(layer.sums, 2 * blocks * kAmxRowsStep * kSingle);
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
void dense_emulated(const AmxDense& layer) { run_dense<EmulatedDense>(layer); }
void head_emulated(const AmxHead& head) { pack_head<EmulatedUnit>(head); }
void attention_emulated(const AmxAttention& piece) { run_attention<EmulatedAttention>(piece); }

}  // namespace

const AmxLoops kEmulatedTiles{
    {lines_emulated, quads_emulated, take_emulated, whole_emulated}, dense_emulated, head_emulated, attention_emulated};

}  // namespace sat::cpu
