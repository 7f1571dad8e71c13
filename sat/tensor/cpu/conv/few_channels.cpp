// Convolutions of few input channels: strips of the input with zeros around them, lines of output voxels as tiles'
// rows.
//
// Rows are not gathered: the taps of a kernel's line lie side by side in the strip, and the next voxel's begin a stride
// further on. For SAT's first layer (27 taps, 64 outputs) a voxel is 108 multiply-adds of 16 lanes; to store and to
// count it are 4 stores, 8 additions and 4 multiply-adds of them, and 256 bytes of memory in f32.
#include "sat/tensor/cpu/conv/few_channels.h"

#include <algorithm>
#include <vector>

#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"
#include "sat/tensor/cpu/conv/conv_slab.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kFewChannels = 4;
constexpr int64_t kPieceVoxels = 4096;            // of a strip's results
constexpr int64_t kRun = 8 * kTileRows;           // voxels whose sums wait in the L1 cache: 12 KB of 64 outputs
constexpr int64_t kBlock = kTilePanels * kPanel;  // outputs that are computed together
constexpr int64_t kLinesAtOnce = 32;              // of the kernel, whose taps are summed in registers

/// Statistics of a strip's results in a block of outputs: sums relative to its first voxel, a run at a time in f32.
struct Counts {
  alignas(64) float base[kBlock] = {};
  double sums[kBlock] = {}, squares[kBlock] = {};

  void add(const float* values, int64_t width, int64_t voxels, bool begin) {
    if (begin) std::copy_n(values, width, base);
    avx2::add_deviations(sums, squares, values, base, voxels, width);
  }
  void give(Moments* to, int64_t outputs, int64_t voxels) const {
    for (int64_t o = 0; o < outputs; ++o) {
      const double mean = sums[o] / double(voxels);
      to[o] = {double(voxels), double(base[o]) + mean, squares[o] - sums[o] * mean};
    }
  }
};

/// One sample's division into strips: an output plane's lines, some at a time.
struct Strips {
  const ConvShape& shape;
  int64_t in, lines, a_plane;        // channels; output lines of a strip; strips of a plane
  int64_t row, rows, plane, floats;  // of the input: values of a line, lines, values of `rows` lines, and of all

  explicit Strips(const ConvShape& of) : shape(of), in(of.in0 + of.in1) {
    const int64_t wanted = std::max<int64_t>(1, kPieceVoxels / std::max<int64_t>(1, of.out_size[2]));
    lines = divide_up(of.out_size[1], divide_up(of.out_size[1], wanted));
    a_plane = divide_up(of.out_size[1], lines);
    row = (of.in_size[2] + 2 * of.padding[2]) * in;
    rows = (lines - 1) * of.stride[1] + of.kernel[1];
    plane = rows * row;
    floats = of.kernel[0] * plane;
  }
  int64_t count() const { return shape.out_size[0] * a_plane; }

  /// Copies what strip `index` reads, zeros where that lies outside.
  void read(float* to, const float* x0, const float* x1, int64_t index) const {
    const auto [H, W, D] = shape.in_size;
    const int64_t first_h = index / a_plane * shape.stride[0] - shape.padding[0];
    const int64_t first_w = index % a_plane * lines * shape.stride[1] - shape.padding[1];
    for (int64_t i = 0; i < shape.kernel[0] * rows; ++i, to += row) {
      const int64_t h = first_h + i / rows, w = first_w + i % rows;
      std::fill_n(to, row, 0.f);
      if (h < 0 || h >= H || w < 0 || w >= W) continue;
      float* inside = to + shape.padding[2] * in;
      const int64_t first = (h * W + w) * D;
      if (shape.in1 == 0) {
        std::copy_n(x0 + first * in, D * in, inside);
        continue;
      }
      for (int64_t d = 0; d < D; ++d) {
        inside = std::copy_n(x0 + (first + d) * shape.in0, shape.in0, inside);
        inside = std::copy_n(x1 + (first + d) * shape.in1, shape.in1, inside);
      }
    }
  }
};

/// Sums of `count` voxels of an output line from `first` on, [count rounded up to 6, width], for a block of outputs.
void multiply(const Simd& simd, float* sums, const float* line, const Strips& strips, const float* panels,
              int64_t width, int64_t first, int64_t count) {
  const ConvShape& shape = strips.shape;
  const int64_t lines = shape.kernel[0] * shape.kernel[1], terms = shape.kernel[2] * strips.in;
  const float* rows[kLinesAtOnce * kTileRows];
  for (int64_t from = 0; from < lines; from += kLinesAtOnce) {
    const int64_t some = std::min(kLinesAtOnce, lines - from), panel_stride = lines * terms * kPanel;
    const TileWeights weights{
        panels + from * terms * kPanel, some, terms * kPanel, terms, width / kPanel, panel_stride};
    int64_t place[kLinesAtOnce];
    for (int64_t t = 0; t < some; ++t) {
      place[t] = (from + t) / shape.kernel[1] * strips.plane + (from + t) % shape.kernel[1] * strips.row;
    }
    for (int64_t voxel = 0; voxel < count; voxel += kTileRows) {
      const float* corners[kTileRows];
      for (int64_t r = 0; r < kTileRows; ++r) {
        const int64_t d = first + std::min(voxel + r, count - 1);  // rows behind the last one are of no use to anybody
        corners[r] = line + d * shape.stride[2] * strips.in;
      }
      for (int64_t t = 0; t < some; ++t) {
        for (int64_t r = 0; r < kTileRows; ++r) rows[t * kTileRows + r] = corners[r] + place[t];
      }
      simd.tile(sums + voxel * width, rows, weights, from == 0);
    }
  }
}

/// One strip on its way through an engine.
struct Strip {
  const float* values;
  float* room;          // the engine's own
  int64_t lines;        // of the result
  int64_t first_voxel;  // of them, among all of the batch
  Moments* moments;     // [out], of the strip; null where nothing is counted
  bool around_cache;
};

/// compute(strip) for every strip of the batch, and their statistics merged in order. `room` counts floats.
template <class Compute>
void for_each_strip(const Strips& strips, const ConvResult& y, const float* x0, const float* x1, int64_t room,
                    const Compute& compute) {
  const ConvShape& shape = strips.shape;
  const int64_t in_voxels = shape.in_size[0] * shape.in_size[1] * shape.in_size[2];
  const int64_t D = shape.out_size[2], out_voxels = shape.out_size[0] * shape.out_size[1] * D;
  const int64_t count = strips.count(), values = divide_up(strips.floats, kPanel) * kPanel;
  const bool around_cache = shape.out % (2 * kPanel) == 0 && reinterpret_cast<uintptr_t>(y.values) % 64 == 0 &&
                            shape.batch * out_voxels * shape.out * size_of(y.dtype) >= kAroundCache;
  Workspace workspace(values + room);
  std::vector<Moments> parts(y.statistics ? size_t(shape.batch * count * shape.out) : 0);
  parallel_for(shape.batch * count, 1, [&](int64_t item, int64_t) {
    const int64_t b = item / count, strip = item % count;
    Workspace::Use scratch(workspace);
    strips.read(scratch.data(), x0 + b * in_voxels * shape.in0, x1 ? x1 + b * in_voxels * shape.in1 : nullptr, strip);
    const int64_t first_line = strip % strips.a_plane * strips.lines;
    compute(Strip{scratch.data(), scratch.data() + values, std::min(strips.lines, shape.out_size[1] - first_line),
                  b * out_voxels + (strip / strips.a_plane * shape.out_size[1] + first_line) * D,
                  y.statistics ? parts.data() + item * shape.out : nullptr, around_cache});
  });
  if (!y.statistics) return;
  parallel_for(shape.batch * shape.out, 1, [&](int64_t i, int64_t) {
    Moments& whole = y.statistics[i];
    whole = {};
    for (int64_t strip = 0; strip < count; ++strip) {
      whole.merge(parts[size_t((i / shape.out * count + strip) * shape.out + i % shape.out)]);
    }
  });
}

/// Steps of 27 taps of one channel, or of 9 taps of all.
int64_t steps_of(int64_t channels) { return channels == 1 ? 1 : 3; }

}  // namespace

bool has_few_channels(const ConvShape& shape) { return shape.in0 + shape.in1 <= kFewChannels; }

void few_channels_conv3d(const Simd& simd, const ConvResult& y, const float* x0, const float* x1, const float* panels,
                         const float* bias, const ConvShape& shape) {
  const Strips strips(shape);
  const int64_t D = shape.out_size[2], size = size_of(y.dtype), panel = shape.taps() * strips.in * kPanel;
  for_each_strip(strips, y, x0, x1, 0, [&](const Strip& strip) {
    alignas(64) float sums[kRun * kBlock];
    avx2::RowsTarget target{nullptr, shape.out, y.dtype == DType::f16, strip.around_cache};
    for (int64_t first = 0; first < shape.out; first += kBlock) {
      const int64_t outputs = std::min(kBlock, shape.out - first), width = divide_up(outputs, kPanel) * kPanel;
      Counts counts;
      for (int64_t run = 0; run < strip.lines * divide_up(D, kRun); ++run) {
        const int64_t line = run / divide_up(D, kRun), d = run % divide_up(D, kRun) * kRun;
        const int64_t some = std::min(kRun, D - d);
        multiply(simd, sums, strip.values + line * shape.stride[1] * strips.row, strips,
                 panels + first / kPanel * panel, width, d, some);
        target.first = static_cast<char*>(y.values) + ((strip.first_voxel + line * D + d) * shape.out + first) * size;
        if (strip.moments) counts.add(sums, width, some, run == 0);
        avx2::put_rows(target, sums, width, bias ? bias + first : nullptr, some, outputs);
      }
      if (strip.moments) counts.give(strip.moments + first, outputs, strip.lines * D);
    }
    if (strip.around_cache) avx2::settle();
  });
}

bool few_channels_on_tiles(int64_t in, int64_t stride) { return in <= kAmxMostGrey && stride == 1; }

Tensor pack_few_channels(const Tensor& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1], steps = steps_of(in);
  Tensor panels({divide_up(out, kAmxLanes), steps, 2, 16, 32}, DType::bf16);
  const float* from = weight.address<float>();
  bf16* values = panels.address<bf16>();
  parallel_for(panels.shape[0] * steps, 1, [&](int64_t block, int64_t) {
    for (int64_t i = 0; i < kAmxStep; ++i) {
      const int64_t o = block / steps * kAmxLanes + i / (kAmxStep / 2) * 16 + i / 2 % 16;
      const int64_t k = i / 32 % 16 * 2 + i % 2, d = k / kAmxRecord, place = k % kAmxRecord;
      const int64_t line = in == 1 ? place : block % steps * 3 + place / in, channel = place % in;
      const bool real = o < out && d < 3 && place < (in == 1 ? 9 : 3 * in);
      values[block * kAmxStep + i] = real ? to_bf16(from[((o * in + channel) * 9 + line) * 3 + d]) : bf16{0};
    }
  });
  return panels;
}

void few_channels_conv3d(const AmxLoops& tiles, const ConvResult& y, const float* x, const Tensor& panels,
                         const ConvShape& shape) {
  const Strips strips(shape);
  const int64_t D = shape.out_size[2], steps = steps_of(strips.in);
  const Shape needed{divide_up(shape.out, kAmxLanes), steps, 2, 16, 32};
  SAT_CHECK(panels.dtype == DType::bf16 && panels.shape == needed, "few_channels_conv3d: weights are ", panels.dtype,
            " ", panels.shape, ", needs bf16 ", needed);
  const int64_t row = divide_up(divide_up(D, kAmxRows) * kAmxRows + 2, kAmxLanes) * kAmxLanes;
  const int64_t rounded = (3 * strips.rows * strips.in + 1) * row, records = steps * row * kAmxRecord;
  for_each_strip(strips, y, x, nullptr, (rounded + records) / 2, [&](const Strip& strip) {
    for (int64_t first = 0; first < shape.out; first += kBlock) {
      Counts counts;
      AmxFewChannels piece{};
      piece.strip = strip.values;
      piece.rows = strips.rows;
      piece.channels = strips.in;
      piece.steps = steps;
      piece.lines = strip.lines;
      piece.voxels = D;
      piece.panels = static_cast<const uint16_t*>(panels.raw()) + first / kAmxLanes * steps * kAmxStep;
      piece.outputs = std::min(kBlock, shape.out - first);
      piece.row = row;
      piece.rounded = reinterpret_cast<uint16_t*>(strip.room);
      piece.records = piece.rounded + rounded;
      piece.to = static_cast<char*>(y.values) + (strip.first_voxel * shape.out + first) * size_of(y.dtype);
      piece.out = shape.out;
      piece.half = y.dtype == DType::f16;
      piece.around_cache = strip.around_cache;
      piece.base = counts.base;
      piece.sums = counts.sums;
      piece.squares = counts.squares;
      tiles.few_channels(piece);
      counts.give(strip.moments + first, piece.outputs, strip.lines * D);
    }
  });
}

}  // namespace sat::cpu
