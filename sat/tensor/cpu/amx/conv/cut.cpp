// Where the AMX convolution's work is cut: strips by what the L2 cache holds, groups of outputs by their weights.
#include "sat/tensor/cpu/amx/conv/cut.h"

#include <algorithm>

#include "sat/tensor/parallel.h"
#include "sat/tensor/tensor.h"

namespace sat::cpu {

namespace {

constexpr int64_t kValue = sizeof(uint16_t);
constexpr int64_t kPieces = 16;  // at least, where a volume is large enough: work for as many threads

// Lines.
constexpr int64_t kLinesRing = 5 << 18;  // half of the L2 cache; weights and results pass through the rest
constexpr int64_t kLeastRows = 8;        // of a strip, for the sake of the two rows that it shares
constexpr int64_t kLeastBlocks = 2;      // of outputs, since every group of them normalises the input again

// Quads.
constexpr int64_t kCache = 2 << 20;         // L2 of every processor with AMX so far
constexpr int64_t kPassing = 128 << 10;     // what passes through it: source rows, results
constexpr int64_t kGroupWeights = 1 << 19;  // of the outputs that one pass over the input computes
constexpr int64_t kLeastQuads = 12;         // rows of a strip
constexpr int64_t kStepCycles = 192;        // 12 products
constexpr int64_t kTakenCycles = 6;         // a pixel of 32 channels that is taken between steps, beyond what is hidden
constexpr int64_t kQuadSlots = 4;           // three planes that the kernel sees, and the one that is taken

// Whole.
constexpr int64_t kChunkWeights = 450 << 10;  // that stay in the L2 cache, beside three planes of pixels

int64_t blocks_of(int64_t channels) { return divide_up(channels, kAmxLanes); }
int64_t weights_of(int64_t in, int64_t outputs) { return 27 * blocks_of(in) * kAmxLanes * outputs * kValue; }

/// The parts of a ring that do not depend on how many rows a strip has.
AmxRing lines_ring(const AmxSizes& sizes) {
  AmxRing ring{};
  const bool narrow = amx_narrow(sizes.in);
  ring.pixel = narrow ? sizes.in + sizes.in % 2 : kAmxLanes;
  ring.blocks = narrow ? 1 : blocks_of(sizes.in);
  ring.taps = narrow ? 1 : 3;
  ring.line = sizes.in_size[2] + 1;
  ring.line += ring.line % sizes.stride;
  ring.classes = sizes.stride;
  ring.slots = 3 + sizes.stride;
  return ring;
}

AmxCut cut_lines(const AmxSizes& sizes) {
  AmxCut cut{};
  cut.form = AmxForm::lines;
  AmxRing& ring = cut.ring;
  ring = lines_ring(sizes);
  const int64_t stride = sizes.stride, out_rows = sizes.out_size[1];
  const int64_t ring_rows = kLinesRing / (ring.slots * ring.line * ring.pixel * ring.blocks * kValue);
  const int64_t most_rows = ring_rows < 3 ? 1 : (ring_rows - 3) / stride + 1;
  int64_t several = kPieces;  // a power of two, so that strips share out evenly
  while (several > 1 && out_rows / several < kLeastRows) several /= 2;
  cut.strips = divide_up(divide_up(out_rows, most_rows), several) * several;
  cut.rows = divide_up(out_rows, cut.strips);
  cut.strips = divide_up(out_rows, cut.rows);
  const int64_t blocks = blocks_of(sizes.out), wanted = std::max<int64_t>(1, kPieces / cut.strips);
  cut.blocks = std::max(kLeastBlocks, divide_up(blocks, wanted));
  cut.groups = divide_up(blocks, cut.blocks);

  // The last tile of the last block reads on behind the strip, three pixels wide.
  const int64_t computed = divide_up(cut.rows * (ring.line / stride), kAmxRows) * kAmxRows;
  const int64_t pixels = (2 / stride) * ring.line + (computed - 1) * stride + 3;
  ring.block_step = divide_up(pixels * ring.pixel, 32) * 32;
  ring.class_step = ring.blocks * ring.block_step;
  ring.plane_step = stride * ring.class_step;
  ring.values = ring.slots * ring.plane_step;
  return cut;
}

AmxRing quads_ring(int64_t in, int64_t pixels) {
  AmxRing ring{};
  ring.pixel = kAmxLanes;
  ring.blocks = blocks_of(in);
  ring.taps = 3;
  ring.line = pixels + 1;
  ring.classes = kQuad;
  return ring;
}

/// Pixels of a class, so many at least, an odd number of cache lines apart: tiles of different classes then lie in
/// different sets of the L1 cache.
int64_t class_step(int64_t pixels) { return (pixels + (13 - pixels % 8) % 8) * kAmxLanes; }

AmxRing strip_ring(const AmxSizes& sizes, int64_t rows) {
  AmxRing ring = quads_ring(sizes.in, sizes.in_size[2]);
  // The last tile reads on behind the strip's last group, three pixels wide.
  ring.class_step = class_step((divide_up(rows, kQuad) + 1) * ring.line + kAmxRows + 2);
  ring.block_step = kQuad * ring.class_step;
  ring.plane_step = ring.blocks * ring.block_step;
  ring.slots = kQuadSlots;
  ring.values = ring.slots * ring.plane_step;
  return ring;
}

/// Tiles of pixels of a strip's class, in one plane; QuadBlocks of quad_loops.h.
int64_t tiles_of(const AmxSizes& sizes, int64_t rows) {
  const int64_t groups = divide_up(rows, kQuad), D = sizes.in_size[2];
  return D % kAmxRows == 0 ? groups * (D / kAmxRows) : divide_up(groups * (D + 1) - 1, kAmxRows);
}

/// Rows of a strip: those that cost least among those whose ring leaves room for the weights. Pieces are counted as
/// four threads would share them.
AmxCut cut_quads(const AmxSizes& sizes) {
  AmxCut cut{};
  cut.form = AmxForm::quads;
  const int64_t blocks = blocks_of(sizes.out), W = sizes.out_size[1];
  const int64_t together = std::max<int64_t>(1, kGroupWeights / weights_of(sizes.in, kAmxLanes));
  cut.groups = divide_up(blocks, together);
  cut.blocks = divide_up(blocks, cut.groups);
  cut.groups = divide_up(blocks, cut.blocks);
  const int64_t room = kCache - kPassing - weights_of(sizes.in, cut.blocks * kAmxLanes);
  const int64_t strips = std::max<int64_t>(1, kPieces / cut.groups);
  const int64_t most = std::max(kLeastQuads, divide_up(W, strips));
  int64_t least = 0;
  for (int64_t rows = kQuad; rows == kQuad || rows < most + kQuad; rows += kQuad) {
    const AmxRing ring = strip_ring(sizes, rows);
    if (rows > kQuad && ring.values * kValue > room) break;
    const int64_t pieces = divide_up(divide_up(W, rows) * cut.groups, 4) * 4;
    const int64_t steps = tiles_of(sizes, rows) * 2 * cut.blocks * 9, taken = (rows + 2) * sizes.in_size[2];
    const int64_t cycles = pieces * (steps * kStepCycles + taken * kTakenCycles);
    if (rows > kQuad && cycles >= least) continue;
    least = cycles;
    cut.rows = rows;
    cut.ring = ring;
  }
  cut.rows = std::min(cut.rows, W);
  cut.strips = divide_up(W, cut.rows);
  return cut;
}

AmxRing whole_ring(const std::array<int64_t, 3>& in_size, int64_t in, int64_t planes) {
  AmxRing ring = quads_ring(in, in_size[2]);
  ring.slots = planes + 2;
  ring.plane_step = divide_up(in_size[1] + 2, kQuad) * ring.line * kAmxLanes;
  ring.class_step = class_step(ring.slots * (ring.plane_step / kAmxLanes) + ring.line + kAmxRows + 2);
  ring.block_step = kQuad * ring.class_step;
  ring.values = ring.blocks * ring.block_step;
  return ring;
}

AmxCut cut_whole(const AmxSizes& sizes, int64_t planes) {
  AmxCut cut{};
  cut.form = AmxForm::whole;
  cut.ring = whole_ring(sizes.in_size, sizes.in, planes);
  cut.rows = sizes.out_size[1];
  cut.strips = 1;
  cut.blocks = 1;
  cut.groups = blocks_of(sizes.out);
  cut.chunk = std::max<int64_t>(1, kChunkWeights / weights_of(kAmxLanes, 16));
  return cut;
}

}  // namespace

bool amx_narrow(int64_t in) { return 3 * (in + in % 2) <= kAmxLanes; }

AmxCut amx_cut(const AmxSizes& sizes, int64_t planes, bool whole) {
  if (sizes.stride == 2 || amx_narrow(sizes.in)) return cut_lines(sizes);
  return whole ? cut_whole(sizes, planes) : cut_quads(sizes);
}

bool amx_whole_pays(int64_t in) { return weights_of(in, kAmxLanes) > kGroupWeights; }

int64_t amx_whole_bytes(const std::array<int64_t, 3>& in_size, int64_t in) {
  return whole_ring(in_size, in, in_size[0]).values * kValue;
}

int64_t amx_whole_blocks(const AmxCut& cut, int64_t planes) {
  const int64_t plane = cut.ring.plane_step / kAmxLanes;
  return divide_up((planes - 1) * plane + divide_up(cut.rows, kQuad) * cut.ring.line - 1, kAmxRows);
}

}  // namespace sat::cpu
