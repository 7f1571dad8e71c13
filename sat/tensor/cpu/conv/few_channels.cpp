// Convolutions of few input channels: strips of the input with zeros around them, lines of output voxels as tiles'
// rows.
//
// Rows are not gathered: the taps of a kernel's line lie side by side in the strip, and the next voxel's begin a stride
// further on. For SAT's first layer (27 taps, 64 outputs) a voxel is 108 multiply-adds of 16 lanes; to store and to
// count it are 4 stores, 8 additions and 4 multiply-adds of them, and 256 bytes of memory in f32.
#include "sat/tensor/cpu/conv/few_channels.h"

#include <algorithm>
#include <vector>

#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kFewChannels = 4;
constexpr int64_t kPieceVoxels = 4096;            // of a strip's results
constexpr int64_t kRun = 8 * kTileRows;           // voxels whose sums wait in the L1 cache: 12 KB of 64 outputs
constexpr int64_t kBlock = kTilePanels * kPanel;  // outputs that are computed together
constexpr int64_t kAroundCache = 64 << 20;        // results that nobody finds in a cache, in bytes
constexpr int64_t kLinesAtOnce = 32;              // of the kernel, whose taps are summed in registers

/// Statistics of a strip's results in a block of outputs: sums relative to its first voxel, a run at a time in f32.
struct Counts {
  alignas(64) float base[kBlock];
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

}  // namespace

bool has_few_channels(const ConvShape& shape) { return shape.in0 + shape.in1 <= kFewChannels; }

void few_channels_conv3d(const Simd& simd, const ConvResult& y, const float* x0, const float* x1, const float* panels,
                         const float* bias, const ConvShape& shape) {
  const Strips strips(shape);
  const int64_t in_voxels = shape.in_size[0] * shape.in_size[1] * shape.in_size[2];
  const int64_t D = shape.out_size[2], out_voxels = shape.out_size[0] * shape.out_size[1] * D;
  const int64_t count = strips.count(), size = size_of(y.dtype), panel = shape.taps() * strips.in * kPanel;
  const bool around_cache = shape.out % kPanel == 0 && reinterpret_cast<uintptr_t>(y.values) % 64 == 0 &&
                            shape.batch * out_voxels * shape.out * size >= kAroundCache;
  Workspace workspace(strips.floats);
  std::vector<Moments> parts(y.statistics ? size_t(shape.batch * count * shape.out) : 0);
  parallel_for(shape.batch * count, 1, [&](int64_t item, int64_t) {
    const int64_t b = item / count, strip = item % count;
    Workspace::Use scratch(workspace);
    strips.read(scratch.data(), x0 + b * in_voxels * shape.in0, x1 ? x1 + b * in_voxels * shape.in1 : nullptr, strip);
    const int64_t first_line = strip % strips.a_plane * strips.lines;
    const int64_t lines = std::min(strips.lines, shape.out_size[1] - first_line);
    const int64_t first_voxel = b * out_voxels + (strip / strips.a_plane * shape.out_size[1] + first_line) * D;
    alignas(64) float sums[kRun * kBlock];
    avx2::RowsTarget target{nullptr, shape.out, y.dtype == DType::f16, around_cache};
    for (int64_t first = 0; first < shape.out; first += kBlock) {
      const int64_t outputs = std::min(kBlock, shape.out - first), width = divide_up(outputs, kPanel) * kPanel;
      Counts counts;
      for (int64_t run = 0; run < lines * divide_up(D, kRun); ++run) {
        const int64_t line = run / divide_up(D, kRun), d = run % divide_up(D, kRun) * kRun;
        const int64_t some = std::min(kRun, D - d);
        multiply(simd, sums, scratch.data() + line * shape.stride[1] * strips.row, strips,
                 panels + first / kPanel * panel, width, d, some);
        target.first = static_cast<char*>(y.values) + ((first_voxel + line * D + d) * shape.out + first) * size;
        if (y.statistics) counts.add(sums, width, some, run == 0);
        avx2::put_rows(target, sums, width, bias ? bias + first : nullptr, some, outputs);
      }
      if (y.statistics) counts.give(parts.data() + item * shape.out + first, outputs, lines * D);
    }
    if (around_cache) avx2::settle();
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

}  // namespace sat::cpu
