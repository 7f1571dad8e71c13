// The weight's gradient of an image's convolution. An input has too few channels for a register tile, so a tile's rows
// are taps: along a line of output gradients, tap t of a channel reads that channel's line from its own place on.
#include <algorithm>

#include "sat/tensor/cpu/conv/feature_reader.h"
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kFewChannels = 4;
constexpr int64_t kStripLines = 16;  // of output gradients: an item
constexpr int64_t kStripsAPiece = 8;
constexpr int64_t kTapTiles = 5;    // of six taps, three of which there are not
constexpr int64_t kCacheLine = 16;  // floats

/// Lines of one channel with a zero at either end and three behind: [3 planes, lines + 2, pitch].
struct Strip {
  int64_t lines, pitch;
  int64_t plane() const { return (lines + 2) * pitch; }
  int64_t channel() const { return 3 * plane(); }
};

/// The lines above and below lines [first, first + strip.lines) of output plane h, a channel behind the other.
void read_strip(float* to, float* room, const FeatureReader& reader, const GradientShape& shape, const Strip& strip,
                int64_t h, int64_t first) {
  const auto [H, W, D] = shape.size;
  std::fill_n(to, shape.channels * strip.channel(), 0.f);
  for (int64_t line = 0; line < 3 * (strip.lines + 2); ++line) {
    const int64_t y = h - 1 + line / (strip.lines + 2), x = first - 1 + line % (strip.lines + 2);
    if (y < 0 || y >= H || x < 0 || x >= W) continue;
    reader.read(room, (y * W + x) * D, D);
    for (int64_t c = 0; c < shape.channels; ++c) {
      float* values = to + c * strip.channel() + line * strip.pitch + 1;
      for (int64_t d = 0; d < D; ++d) values[d] = room[d * shape.channels + c];
    }
  }
}

}  // namespace

bool has_few_channels(const GradientShape& shape) { return shape.channels <= kFewChannels && shape.stride == 1; }

void few_channels_weight_gradient(const WeightGradient& job, const Simd& simd) {
  const GradientShape& shape = job.shape;
  const auto [H, W, D] = shape.size;
  const int64_t strips = divide_up(W, kStripLines), pitch = divide_up(D + 2 + 3, kCacheLine) * kCacheLine;
  const Strip largest{divide_up(W, strips), pitch};
  const int64_t taps = kTapTiles * kTileRows, width = std::min(kGradientBlock, divide_up(shape.out, kPanel) * kPanel);
  const int64_t values = shape.channels * largest.channel(), line = D * std::max(shape.channels, width);
  const PartSizes sizes{shape.batch * H * strips, kStripsAPiece, kPanel, shape.channels * taps * width + values + line};
  sum_parts(job, sizes, [&, H = H, W = W, D = D](float* sums, float* room, const GradientPart& part) {
    float *own = room, *x = own + shape.channels * taps * part.out, *wide = x + values;
    std::fill_n(own, shape.channels * taps * part.out, 0.f);
    for (int64_t item = part.first; item < part.last; ++item) {
      const int64_t b = item / strips / H, h = item / strips % H, first = item % strips * largest.lines;
      const Strip strip{std::min(largest.lines, W - first), pitch};
      read_strip(x, wide, FeatureReader(job.x, b), shape, strip, h, first);
      for (int64_t w = 0; w < strip.lines; ++w) {
        const float* y = job.dy + ((b * H + h) * W + first + w) * D * shape.out + part.output;
        const float* next = y + D * shape.out;
        if (part.out != shape.out) {
          for (int64_t d = 0; d < D; ++d) {
            std::copy_n(y + d * shape.out, part.outputs, wide + d * part.out);
            std::fill_n(wide + d * part.out + part.outputs, part.out - part.outputs, 0.f);
          }
          y = wide;
        }
        for (int64_t c = 0; c < shape.channels; ++c) {
          for (int64_t t = 0; t < taps; t += kTileRows) {
            const float* rows[kTileRows];
            for (int64_t r = 0; r < kTileRows; ++r) {  // what the taps that there are not give is looked at by nobody
              const int64_t tap = std::min(t + r, kGradientTaps - 1);
              rows[r] = x + c * strip.channel() + tap / 9 * strip.plane() + (w + tap / 3 % 3) * pitch + tap % 3;
            }
            const TileTarget target{own + (c * taps + t) * part.out, part.out, 1, false};
            simd.tile_onto(&target, 1, rows, {y, D, part.out / kPanel, next + t / kTileRows * D * kCacheLine});
          }
        }
      }
    }
    for (int64_t i = 0; i < part.inputs * kGradientTaps; ++i) {
      const int64_t c = i / kGradientTaps, t = i % kGradientTaps;
      std::copy_n(own + ((part.input + c) * taps + t) * part.out, part.out, sums + t * part.tap + c * part.out);
    }
  });
}

}  // namespace sat::cpu
