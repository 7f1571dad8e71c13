// The gradient of a convolution's weight: parts, and their sums in the order of the published weight.
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"

#include <emmintrin.h>

#include <algorithm>

#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kMostPieces = 32;
constexpr int64_t kPartialBytes = 64 << 20;
constexpr int64_t kSkew = 16;  // floats between taps, so that they do not share cache sets

int64_t padded(int64_t channels) { return divide_up(channels, kPanel) * kPanel; }

/// dw[o, i, t] = the sums of a part, or += them, for its outputs from `output` on, four at most: blocks of 4 taps x 4
/// outputs are turned, and each output's row is written from end to end.
void put_turned(const WeightGradient& job, const float* sums, const GradientPart& part, int64_t output) {
  const GradientShape& shape = job.shape;
  const int64_t row = shape.in * kGradientTaps, outputs = std::min<int64_t>(4, part.outputs - output);
  float* to = job.dw + ((part.output + output) * shape.in + shape.first_in + part.input) * kGradientTaps;
  for (int64_t i = 0; i < part.inputs; ++i, to += kGradientTaps) {
    const float* from = sums + i * part.out + output;
    for (int64_t t = 0; t < kGradientTaps - 3; t += 4) {
      __m128 a = _mm_loadu_ps(from + t * part.tap), b = _mm_loadu_ps(from + (t + 1) * part.tap);
      __m128 c = _mm_loadu_ps(from + (t + 2) * part.tap), d = _mm_loadu_ps(from + (t + 3) * part.tap);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      const __m128 turned[] = {a, b, c, d};
      for (int64_t n = 0; n < outputs; ++n) {
        float* taps = to + n * row + t;
        _mm_storeu_ps(taps, job.add ? _mm_add_ps(_mm_loadu_ps(taps), turned[n]) : turned[n]);
      }
    }
    for (int64_t t = kGradientTaps - 3; t < kGradientTaps; ++t) {
      for (int64_t n = 0; n < outputs; ++n) {
        to[n * row + t] = from[t * part.tap + n] + (job.add ? to[n * row + t] : 0);
      }
    }
  }
}

/// to = the sum of `count` arrays, `stride` apart, in their order.
void add_up(float* to, const float* from, int64_t stride, int64_t count, int64_t floats) {
  constexpr int64_t kRun = 256;
  for (int64_t first = 0; first < floats; first += kRun) {
    const int64_t run = std::min(kRun, floats - first);
    double sum[kRun] = {};
    for (int64_t piece = 0; piece < count; ++piece) {
      for (int64_t i = 0; i < run; ++i) sum[i] += double(from[piece * stride + first + i]);
    }
    for (int64_t i = 0; i < run; ++i) to[first + i] = float(sum[i]);
  }
}

}  // namespace

void sum_parts(const WeightGradient& job, const PartSizes& sizes, const SumPart& sum) {
  const GradientShape& shape = job.shape;
  const int64_t in_block = std::min(sizes.in, padded(shape.channels));
  const int64_t out_block = std::min(kGradientBlock, padded(shape.out));
  const int64_t in_blocks = divide_up(shape.channels, in_block), out_blocks = divide_up(shape.out, out_block);
  const int64_t blocks = in_blocks * out_blocks;
  const int64_t tap = in_block * out_block + kSkew, block = kGradientTaps * tap;
  const int64_t affordable = kPartialBytes / (blocks * block * int64_t(sizeof(float)));
  const int64_t most = std::max<int64_t>(1, std::min({sizes.items / sizes.a_piece, kMostPieces, affordable}));
  const int64_t a_piece = divide_up(sizes.items, most), pieces = divide_up(sizes.items, a_piece);
  const auto part_of = [&](int64_t index) {
    GradientPart part{};
    part.input = index % in_blocks * in_block;
    part.inputs = std::min(in_block, shape.channels - part.input);
    part.output = index / in_blocks % out_blocks * out_block;
    part.outputs = std::min(out_block, shape.out - part.output);
    part.in = padded(part.inputs);
    part.out = padded(part.outputs);
    part.tap = tap;
    part.first = index / blocks * a_piece;
    part.last = std::min(sizes.items, part.first + a_piece);
    return part;
  };
  Workspace rooms(block + sizes.room);
  Tensor partial(pieces > 1 ? Shape{pieces, blocks, block} : Shape{0});
  float* partials = partial.address<float>();
  parallel_for(pieces * blocks, 1, [&](int64_t index, int64_t) {
    Workspace::Use room(rooms);
    const GradientPart part = part_of(index);
    float* sums = pieces > 1 ? partials + index * block : room.data();
    std::fill_n(sums, block, 0.f);
    sum(sums, room.data() + block, part);
    for (int64_t output = 0; pieces == 1 && output < part.outputs; output += 4) {
      put_turned(job, sums, part, output);
    }
  });
  if (pieces == 1) return;
  parallel_for(blocks * kGradientTaps, 1, [&](int64_t item, int64_t) {
    add_up(partials + item * tap, partials + item * tap, blocks * block, pieces, tap);
  });
  parallel_for(blocks * out_block / 4, 1, [&](int64_t item, int64_t) {
    const GradientPart part = part_of(item / (out_block / 4));
    const int64_t output = item % (out_block / 4) * 4;
    if (output < part.outputs) put_turned(job, partials + item / (out_block / 4) * block, part, output);
  });
}

}  // namespace sat::cpu
