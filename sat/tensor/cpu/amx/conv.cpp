// The AMX convolution around its loops (loops.h): the weights' layout, the division into pieces, the merging of
// their statistics.
#include "sat/tensor/cpu/amx/conv.h"

#include <algorithm>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/piece.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kRingBytes = 5 << 18;     // half of the L2 cache; weights and results pass through the rest
constexpr int64_t kPieces = 16;             // at least, where a volume is large enough: work for as many threads
constexpr int64_t kLeastRows = 8;           // of a strip, for the sake of the two rows that it shares
constexpr int64_t kLeastBlocks = 2;         // of outputs, since every group of them normalises the input again
constexpr int64_t kAroundCache = 64 << 20;  // results that nobody finds in a cache, in bytes

int64_t blocks_of(int64_t channels) { return divide_up(channels, kAmxLanes); }

/// Few channels: a tile row of 32 values holds three pixels. The pixels' distance is even, as values go in pairs.
bool narrow(int64_t in) { return 3 * (in + in % 2) <= kAmxLanes; }

/// Where the volume's work is cut. Depends on sizes alone, so that results do not depend on the threads.
struct Pieces {
  int64_t rows, strips;    // output rows of a strip
  int64_t blocks, groups;  // blocks of 32 outputs of a group
};

Pieces pieces_of(const AmxRing& ring, int64_t stride, int64_t out_rows, int64_t out) {
  const int64_t row_bytes = ring.line * ring.pixel * ring.blocks * size_of(DType::bf16);
  const int64_t ring_rows = kRingBytes / (ring.slots * row_bytes);
  const int64_t most_rows = ring_rows < 3 ? 1 : (ring_rows - 3) / stride + 1;
  int64_t several = kPieces;  // a power of two, so that strips share out evenly
  while (several > 1 && out_rows / several < kLeastRows) several /= 2;
  Pieces result{};
  result.strips = divide_up(out_rows, most_rows);
  result.strips = divide_up(result.strips, several) * several;
  result.rows = divide_up(out_rows, result.strips);
  result.strips = divide_up(out_rows, result.rows);
  const int64_t blocks = blocks_of(out), wanted = std::max<int64_t>(1, kPieces / result.strips);
  result.blocks = std::max(kLeastBlocks, divide_up(blocks, wanted));
  result.groups = divide_up(blocks, result.blocks);
  return result;
}

/// The parts of the ring that do not depend on how many rows a strip has.
AmxRing ring_of(int64_t in, int64_t pixels, int64_t stride) {
  AmxRing ring{};
  ring.pixel = narrow(in) ? in + in % 2 : kAmxLanes;
  ring.blocks = narrow(in) ? 1 : blocks_of(in);
  ring.taps = narrow(in) ? 1 : 3;
  ring.line = pixels + 1;
  ring.line += ring.line % stride;
  ring.slots = 3 + stride;
  return ring;
}

void set_rows(AmxRing& ring, int64_t rows, int64_t stride) {
  // The last tile of the last block reads on behind the strip, three pixels wide.
  const int64_t computed = divide_up(rows * (ring.line / stride), kAmxRows) * kAmxRows;
  const int64_t pixels = (2 / stride) * ring.line + (computed - 1) * stride + 3;
  ring.block = divide_up(pixels * ring.pixel, 32) * 32;
  ring.strip = ring.blocks * ring.block;
  ring.plane = stride * ring.strip;
  ring.values = ring.slots * ring.plane;
}

AmxSource source_of(const SlabInput& input, int64_t first) {
  return {input.planes, input.dtype == DType::f16, input.channels, first, input.norm};
}

void check(const ConvSlab& slab, const Tensor& panels, const AmxRing& ring) {
  SAT_CHECK(slab.stride == 1 || slab.stride == 2, "amx_conv3d: stride ", slab.stride, ", needs 1 or 2");
  for (size_t axis = 0; axis < 3; ++axis) {
    SAT_CHECK(slab.in_size[axis] > 0 && slab.out_size[axis] == (slab.in_size[axis] - 1) / slab.stride + 1,
              "amx_conv3d: axis ", axis, " of ", slab.in_size[axis], " voxels gives ", slab.out_size[axis]);
  }
  SAT_CHECK(0 <= slab.first && slab.first <= slab.last && slab.last <= slab.out_size[0], "amx_conv3d: planes ",
            slab.first, " to ", slab.last, " of ", slab.out_size[0]);
  for (const SlabInput& input : slab.inputs) {
    SAT_CHECK(input.channels == 0 || input.dtype == DType::f32 || input.dtype == DType::f16,
              "amx_conv3d: values of type ", input.dtype);
  }
  SAT_CHECK(slab.dtype == DType::f32 || slab.dtype == DType::f16, "amx_conv3d: results of type ", slab.dtype);
  const Shape needed{blocks_of(slab.out), 9, ring.blocks * ring.taps, 2, 16, 32};
  SAT_CHECK(panels.dtype == DType::bf16 && panels.shape == needed, "amx_conv3d: weights are ", panels.dtype, " ",
            panels.shape, ", needs bf16 ", needed);
}

}  // namespace

Tensor pack_amx_conv3d(const Tensor& weight) {
  SAT_CHECK(weight.dtype == DType::f32 && weight.shape.rank() == 5 &&
                weight.shape == Shape({weight.shape[0], weight.shape[1], 3, 3, 3}) && weight.numel() > 0,
            "pack_amx_conv3d: weight is ", weight.dtype, " ", weight.shape, ", needs f32 [out, in, 3, 3, 3]");
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const AmxRing ring = ring_of(in, 1, 1);
  const int64_t steps = 9 * ring.blocks * ring.taps;
  Tensor panels({blocks_of(out), 9, ring.blocks * ring.taps, 2, 16, 32}, DType::bf16);
  const float* from = weight.address<float>();
  bf16* values = panels.address<bf16>();
  parallel_for(blocks_of(out) * steps, 16, [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) {
      const int64_t row = s % steps / (ring.blocks * ring.taps), block = s / ring.taps % ring.blocks;
      bf16* to = values + s * kAmxStep;
      for (int64_t i = 0; i < kAmxStep; ++i) {
        const int64_t k = i / 32 % 16 * 2 + i % 2;  // the value's place in a tile row of pixels
        const int64_t o = s / steps * kAmxLanes + i / (kAmxStep / 2) * 16 + i / 2 % 16;
        const int64_t tap = narrow(in) ? k / ring.pixel : s % ring.taps;
        const int64_t channel = narrow(in) ? k % ring.pixel : block * kAmxLanes + k;
        const bool real = o < out && channel < in && tap < 3;
        to[i] = real ? to_bf16(from[((o * in + channel) * 9 + row) * 3 + tap]) : bf16{0};
      }
    }
  });
  return panels;
}

void amx_conv3d(const ConvSlab& slab, const Tensor& panels, void (*loops)(const AmxPiece&)) {
  const int64_t in = slab.inputs[0].channels + slab.inputs[1].channels;
  AmxRing ring = ring_of(in, slab.in_size[2], slab.stride);
  check(slab, panels, ring);
  const Pieces cut = pieces_of(ring, slab.stride, slab.out_size[1], slab.out);
  set_rows(ring, cut.rows, slab.stride);
  Workspace rings((ring.values + 1) / 2);  // counted in floats
  if (Context::current().dry()) return;
  const int64_t planes = slab.last - slab.first;
  std::vector<double> moments(size_t(planes * cut.strips * 2 * slab.out));
  const int64_t plane_bytes = slab.out_size[1] * slab.out_size[2] * slab.out * size_of(slab.dtype);
  bool around_cache = slab.out % kAmxLanes == 0 && slab.out_size[0] * plane_bytes >= kAroundCache;
  for (int64_t h = slab.first; h < slab.last; ++h) {
    around_cache = around_cache && reinterpret_cast<uintptr_t>(slab.planes[h]) % 64 == 0;
  }

  parallel_for(planes > 0 ? cut.strips * cut.groups : 0, 1, [&](int64_t index, int64_t) {
    const int64_t strip = index / cut.groups, group = index % cut.groups;
    Workspace::Use scratch(rings);
    AmxPiece piece{};
    piece.stride = slab.stride;
    for (size_t axis = 0; axis < 3; ++axis) piece.in_size[axis] = slab.in_size[axis];
    piece.out_pixels = slab.out_size[2];
    piece.sources[0] = source_of(slab.inputs[0], 0);
    piece.sources[1] = source_of(slab.inputs[1], slab.inputs[0].channels);
    piece.ring_values = reinterpret_cast<uint16_t*>(scratch.data());
    piece.ring = ring;
    piece.panels = static_cast<const uint16_t*>(panels.raw());
    piece.panel_count = panels.shape[0];
    piece.panel_values = panels.numel() / piece.panel_count;
    piece.first_plane = slab.first;
    piece.last_plane = slab.last;
    piece.first_row = strip * cut.rows;
    piece.last_row = std::min(slab.out_size[1], piece.first_row + cut.rows);
    piece.first_block = group * cut.blocks;
    piece.last_block = std::min(piece.panel_count, piece.first_block + cut.blocks);
    piece.planes = slab.planes;
    piece.half = slab.dtype == DType::f16;
    piece.around_cache = around_cache;
    piece.out = slab.out;
    piece.moments = moments.data() + strip * 2 * slab.out;
    piece.moments_step = cut.strips * 2 * slab.out;
    loops(piece);
  });
  if (!slab.statistics) return;

  for (int64_t i = 0; i < planes * cut.strips; ++i) {
    const int64_t first_row = i % cut.strips * cut.rows, rows = std::min(cut.rows, slab.out_size[1] - first_row);
    const double* mean = moments.data() + i * 2 * slab.out;
    Moments* whole = slab.statistics + (slab.first + i / cut.strips) / kSlabPlanes * slab.out;
    for (int64_t o = 0; o < slab.out; ++o) {
      whole[o].merge({double(rows * slab.out_size[2]), mean[o], mean[slab.out + o]});
    }
  }
}

}  // namespace sat::cpu
