// The AMX convolution around its loops: the weights' layout, the pieces of work, the merging of their statistics.
#include "sat/tensor/cpu/amx/conv/conv.h"

#include <algorithm>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/conv/cut.h"
#include "sat/tensor/cpu/amx/conv/piece.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kWholePieces = 16;     // of the form `whole`, at least, where there are planes enough
constexpr int64_t kHeavier = 5;          // of whole volumes whose weights would crowd out a ring
constexpr int64_t kLeastRing = 2 << 20;  // bytes: blocks of that size lie on huge pages

int64_t blocks_of(int64_t channels) { return divide_up(channels, kAmxLanes); }
bool in_lines(int64_t in, int64_t stride) { return stride == 2 || amx_narrow(in); }

Shape panels_shape(int64_t out, int64_t in, int64_t stride) {
  if (!in_lines(in, stride)) return {divide_up(out, 16), 3, blocks_of(in), 9, 16, 32};
  return {blocks_of(out), 9, amx_narrow(in) ? 1 : 3 * blocks_of(in), 2, 16, 32};
}

/// Value `i` of a pair of tiles or of one belongs to pair i / 32 % 16 of inputs, output i / 2 % 16, member i % 2.
struct InTile {
  explicit InTile(int64_t i) : k(i / 32 % 16 * 2 + i % 2), output(i / 2 % 16) {}
  int64_t k, output;
};

AmxSource source_of(const SlabInput& input, int64_t first) {
  return {input.planes, input.dtype == DType::f16, input.channels, first, input.norm};
}

void check(const ConvSlab& slab, const Tensor& panels) {
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
  const Shape needed = panels_shape(slab.out, slab.inputs[0].channels + slab.inputs[1].channels, slab.stride);
  SAT_CHECK(panels.dtype == DType::bf16 && panels.shape == needed, "amx_conv3d: weights are ", panels.dtype, " ",
            panels.shape, ", needs bf16 ", needed);
}

bool stored_around_cache(const ConvSlab& slab) {
  const int64_t plane_bytes = slab.out_size[1] * slab.out_size[2] * slab.out * size_of(slab.dtype);
  bool around = slab.out % kAmxLanes == 0 && slab.out_size[0] * plane_bytes >= kAroundCache;
  for (int64_t h = slab.first; h < slab.last; ++h) {
    around = around && reinterpret_cast<uintptr_t>(slab.planes[h]) % 64 == 0;
  }
  return around;
}

/// A piece of everything.
AmxPiece piece_of(const ConvSlab& slab, const Tensor& panels, const AmxCut& cut, double* moments) {
  AmxPiece piece{};
  piece.stride = slab.stride;
  for (size_t axis = 0; axis < 3; ++axis) piece.in_size[axis] = slab.in_size[axis];
  piece.out_pixels = slab.out_size[2];
  piece.sources[0] = source_of(slab.inputs[0], 0);
  piece.sources[1] = source_of(slab.inputs[1], slab.inputs[0].channels);
  piece.ring = cut.ring;
  piece.ring.first_plane = slab.first * slab.stride - 1;
  piece.panels = static_cast<const uint16_t*>(panels.raw());
  piece.panel_count = panels.shape[0];
  piece.panel_values = panels.numel() / piece.panel_count;
  piece.first_plane = slab.first;
  piece.last_plane = slab.last;
  piece.last_row = slab.out_size[1];
  piece.last_block = blocks_of(slab.out);
  piece.planes = slab.planes;
  piece.half = slab.dtype == DType::f16;
  piece.around_cache = stored_around_cache(slab);
  piece.out = slab.out;
  piece.moments = moments;
  piece.moments_step = cut.strips * 2 * slab.out;
  piece.chunk = cut.chunk;
  return piece;
}

/// Strips of rows and groups of outputs, each through all planes, each with a ring of its own.
void run_strips(const AmxPiece& all, const AmxCut& cut, Workspace& rings, void (*loops)(const AmxPiece&)) {
  parallel_for(cut.strips * cut.groups, 1, [&](int64_t index, int64_t) {
    const int64_t strip = index / cut.groups, group = index % cut.groups;
    Workspace::Use scratch(rings);
    AmxPiece piece = all;
    piece.ring_values = reinterpret_cast<uint16_t*>(scratch.data());
    piece.first_row = strip * cut.rows;
    piece.last_row = std::min(all.last_row, piece.first_row + cut.rows);
    piece.first_block = group * cut.blocks;
    piece.last_block = std::min(all.last_block, piece.first_block + cut.blocks);
    piece.moments += strip * 2 * all.out;
    loops(piece);
  });
}

/// Plane by plane into one ring; then groups of outputs, each for a range of planes.
void run_whole(const AmxPiece& all, const AmxCut& cut, int64_t range, Workspace& sums, const AmxConvLoops& loops) {
  parallel_for(cut.ring.slots, 1, [&](int64_t slot, int64_t) {
    AmxPiece piece = all;
    piece.first_plane = all.ring.first_plane + slot;
    piece.last_plane = piece.first_plane + 1;
    loops.take(piece);
  });
  const int64_t ranges = divide_up(all.last_plane - all.first_plane, range);
  parallel_for(cut.groups * ranges, 1, [&](int64_t index, int64_t) {
    Workspace::Use scratch(sums);
    AmxPiece piece = all;
    piece.sums = scratch.data();
    piece.first_plane = all.first_plane + index % ranges * range;
    piece.last_plane = std::min(all.last_plane, piece.first_plane + range);
    piece.whole_blocks = amx_whole_blocks(cut, piece.last_plane - piece.first_plane);
    piece.first_block = index / ranges * cut.blocks;
    piece.last_block = std::min(all.last_block, piece.first_block + cut.blocks);
    piece.moments += (piece.first_plane - all.first_plane) * all.moments_step;
    loops.whole(piece);
  });
}

void merge(const ConvSlab& slab, const AmxCut& cut, const std::vector<double>& moments) {
  for (int64_t i = 0; i < (slab.last - slab.first) * cut.strips; ++i) {
    const int64_t first_row = i % cut.strips * cut.rows, rows = std::min(cut.rows, slab.out_size[1] - first_row);
    const double* mean = moments.data() + i * 2 * slab.out;
    Moments* whole = slab.statistics + (slab.first + i / cut.strips) / kSlabPlanes * slab.out;
    for (int64_t o = 0; o < slab.out; ++o) {
      whole[o].merge({double(rows * slab.out_size[2]), mean[o], mean[slab.out + o]});
    }
  }
}

}  // namespace

Tensor pack_amx_conv3d(const Tensor& weight, int64_t stride) {
  SAT_CHECK(weight.dtype == DType::f32 && weight.shape.rank() == 5 &&
                weight.shape == Shape({weight.shape[0], weight.shape[1], 3, 3, 3}) && weight.numel() > 0,
            "pack_amx_conv3d: weight is ", weight.dtype, " ", weight.shape, ", needs f32 [out, in, 3, 3, 3]");
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const bool lines = in_lines(in, stride), narrow = amx_narrow(in);
  Tensor panels(panels_shape(out, in, stride), DType::bf16);
  const float* from = weight.address<float>();
  bf16* values = panels.address<bf16>();
  const auto value = [&](int64_t o, int64_t channel, int64_t row, int64_t tap) {
    const bool real = o < out && channel < in && tap < 3;
    return real ? to_bf16(from[((o * in + channel) * 9 + row) * 3 + tap]) : bf16{0};
  };
  const int64_t blocks = narrow ? 1 : blocks_of(in), taps = narrow ? 1 : 3, pixel = in + in % 2;
  parallel_for(panels.numel() / kQuadTile, 32, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {  // a tile
      bf16* to = values + t * kQuadTile;
      for (int64_t i = 0; i < kQuadTile; ++i) {
        const InTile at(i);
        if (!lines) {
          // [outputs][plane tap][block][pixel tap][row tap]
          const int64_t row = t / (9 * blocks) % 3 * 3 + t % 3, block = t / 9 % blocks;
          to[i] = value(t / (27 * blocks) * 16 + at.output, block * kAmxLanes + at.k, row, t / 3 % 3);
        } else {
          // [outputs][plane and row tap][block][pixel tap][half]
          const int64_t s = t / 2, row = s / (blocks * taps) % 9, block = s / taps % blocks;
          const int64_t o = s / (9 * blocks * taps) * kAmxLanes + t % 2 * 16 + at.output;
          to[i] =
              narrow ? value(o, at.k % pixel, row, at.k / pixel) : value(o, block * kAmxLanes + at.k, row, s % taps);
        }
      }
    }
  });
  return panels;
}

void amx_conv3d(const ConvSlab& slab, const Tensor& panels, const AmxConvLoops& loops, int64_t whole_bytes) {
  check(slab, panels);
  const int64_t in = slab.inputs[0].channels + slab.inputs[1].channels, planes = slab.last - slab.first;
  const bool whole = amx_keeps_whole(slab.in_size, in, whole_bytes);  // not by the slab: it gives the volume's bits
  const AmxCut cut = amx_cut({slab.in_size, slab.out_size, slab.stride, in, slab.out}, planes, whole);
  std::vector<double> moments;
  if (!Context::current().dry()) moments.resize(size_t(planes * cut.strips * 2 * slab.out));
  if (cut.form != AmxForm::whole) {
    Workspace rings(divide_up(std::max(cut.ring.values * 2, kLeastRing), 4));  // counted in floats
    if (Context::current().dry() || planes == 0) return;
    run_strips(piece_of(slab, panels, cut, moments.data()), cut, rings,
               cut.form == AmxForm::lines ? loops.lines : loops.quads);
  } else if (planes > 0) {
    const int64_t range = divide_up(planes, std::min(planes, divide_up(kWholePieces, cut.groups)));
    Tensor volume({cut.ring.values}, DType::bf16);
    Workspace sums(2 * kQuad * amx_whole_blocks(cut, range) * kAmxRows * 16);
    if (Context::current().dry()) return;
    AmxPiece piece = piece_of(slab, panels, cut, moments.data());
    piece.ring_values = reinterpret_cast<uint16_t*>(volume.address<bf16>());
    if (in % kAmxLanes != 0) std::fill_n(piece.ring_values, cut.ring.values, uint16_t{0});  // lanes that none takes
    run_whole(piece, cut, range, sums, loops);
  }
  if (slab.statistics) merge(slab, cut, moments);
}

bool amx_keeps_whole(const std::array<int64_t, 3>& in_size, int64_t in, int64_t whole_bytes) {
  return amx_whole_bytes(in_size, in) <= (amx_whole_pays(in) ? kHeavier : 1) * whole_bytes;
}

}  // namespace sat::cpu
