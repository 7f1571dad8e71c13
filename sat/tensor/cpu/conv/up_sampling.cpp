// The transposed convolution: groups of voxels, whose weights stay in the L1 cache for 64 outputs at a time, and runs
// of their results, which go to one corner of the 2 x 2 x 2 or to two.
#include "sat/tensor/cpu/conv/up_sampling.h"

#include <algorithm>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/dense.h"
#include "sat/tensor/cpu/amx/voxels/voxel_piece.h"
#include "sat/tensor/cpu/backend.h"
#include "sat/tensor/cpu/conv/conv_slab.h"
#include "sat/tensor/cpu/matrix.h"
#include "sat/tensor/cpu/vector/product.h"
#include "sat/tensor/cpu/vector/vector_avx2.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/half.h"
#include "sat/tensor/ops/score_sizes.h"

namespace sat::cpu {

namespace {

constexpr int64_t kGroupVoxels = 192;
constexpr int64_t kRun = 4 * kTileRows;           // voxels whose sums wait in the L1 cache
constexpr int64_t kBlock = kTilePanels * kPanel;  // outputs that are computed together
constexpr int64_t kChunkSteps = 12;               // of 32 inputs on tiles: 24 KB of weights, half of the L1 cache
constexpr int64_t kPieces = 16;                   // at least, where there is so much work

/// Where the results of a voxel go: its corner (0, 0, 0) in each of the two planes that its row gives.
struct Place {
  const UpSampling& job;
  int64_t out, size;

  explicit Place(const UpSampling& of) : job(of), out(of.weight->out / 8), size(size_of(of.dtype)) {}

  /// Output `o` of the 8 * out of a voxel.
  char* of(int64_t voxel, int64_t o) const {
    const int64_t corner = o / out, d = voxel % job.D, w = voxel / job.D % job.W, h = voxel / job.D / job.W;
    const int64_t column = 2 * w + corner / 2 % 2, slice = 2 * d + corner % 2;
    return static_cast<char*>(job.planes[2 * h + corner / 4]) + ((column * 2 * job.D + slice) * out + o % out) * size;
  }
};

void plain_up_sample(const UpSampling& job, const ReadVoxels& read, int64_t first, int64_t last) {
  const Place place(job);
  const int64_t in = job.weight->in, line = job.D;
  const float* panels = job.weight->panels.address<float>();
  parallel_for((last - first) * job.W, 1, [&](int64_t index, int64_t) {
    std::vector<float> room(size_t(line * in));
    const int64_t voxel = (first * job.W + index) * line;
    const float* x = read(room.data(), voxel, line);
    for (int64_t d = 0; d < line; ++d) {
      for (int64_t o = 0; o < job.weight->out; ++o) {
        float sum = job.bias ? job.bias[o % place.out] : 0.f;
        for (int64_t i = 0; i < in; ++i) sum += x[d * in + i] * panels[(o / 16 * in + i) * 16 + o % 16];
        char* to = place.of(voxel + d, o);
        if (job.dtype == DType::f16) {
          *reinterpret_cast<f16*>(to) = to_f16(std::clamp(sum, -kLargestF16, kLargestF16));
        } else {
          *reinterpret_cast<float*>(to) = sum;
        }
      }
    }
  });
}

/// Stores `count` voxels' sums of a block of outputs, [count, width] from output `first` on. Voxels of a line that
/// follow each other lie at one distance.
void put(const Place& place, const float* sums, int64_t width, int64_t voxel, int64_t count, int64_t first,
         int64_t outputs) {
  const UpSampling& job = place.job;
  for (int64_t done = 0; done < outputs;) {
    const int64_t o = (first + done) % place.out, run = std::min(place.out - o, outputs - done);
    const bool around = job.around_cache && o % kPanel == 0 && run % kPanel == 0;
    for (int64_t row = 0; row < count;) {
      const int64_t rows = std::min(count - row, job.D - (voxel + row) % job.D);
      avx2::put_rows({place.of(voxel + row, first + done), 2 * place.out, job.dtype == DType::f16, around},
                     sums + row * width + done, width, job.bias ? job.bias + o : nullptr, rows, run);
      row += rows;
    }
    done += run;
  }
}

void vector_up_sample(const Simd& simd, const UpSampling& job, const ReadVoxels& read, int64_t first, int64_t last) {
  const Place place(job);
  const int64_t in = job.weight->in, out = job.weight->out, begin = first * job.W * job.D, end = last * job.W * job.D;
  const float* panels = job.weight->panels.address<float>();
  const std::vector<Terms> order = order_of_terms({panels, 1, 1, out, {in, 0}});
  const int64_t groups = divide_up(end - begin, kGroupVoxels), blocks = divide_up(out, kBlock);
  const int64_t a_piece = divide_up(blocks, std::min(blocks, divide_up(kPieces, std::max<int64_t>(1, groups))));
  const int64_t ranges = divide_up(blocks, a_piece);
  Workspace workspace(kGroupVoxels * in);
  parallel_for(groups * ranges, 1, [&](int64_t piece, int64_t) {
    Workspace::Use room(workspace);
    const int64_t voxel = begin + piece / ranges * kGroupVoxels, count = std::min(kGroupVoxels, end - voxel);
    const float* x = read(room.data(), voxel, count);
    alignas(64) float sums[kRun * kBlock];
    const int64_t first_block = piece % ranges * a_piece, last_block = std::min(blocks, first_block + a_piece);
    for (int64_t block = first_block; block < last_block; ++block) {
      const int64_t outputs = std::min(kBlock, out - block * kBlock), width = divide_up(outputs, kPanel) * kPanel;
      for (int64_t run = 0; run < count; run += kRun) {
        const int64_t some = std::min(kRun, count - run);
        for (int64_t row = 0; row < some; row += kTileRows) {
          for (const Terms& terms : order) {
            const float* rows[kTileRows];
            for (int64_t r = 0; r < kTileRows; ++r) {  // rows behind the last one are of no use to anybody
              rows[r] = x + (run + std::min(row + r, some - 1)) * in + terms.channel;
            }
            const float* weights = panels + (block * kBlock * in + terms.channel * kPanel);
            simd.tile(sums + row * width, rows, {weights, 1, 0, terms.channels, width / kPanel, in * kPanel},
                      &terms == order.data());
          }
        }
        put(place, sums, width, voxel + run, some, block * kBlock, outputs);
      }
    }
    if (job.around_cache) avx2::settle();
  });
}

void tile_up_sample(const AmxLoops& tiles, const UpSampling& job, const ReadVoxels& read, int64_t first, int64_t last) {
  const Place place(job);
  const int64_t in = job.weight->in, begin = first * job.W * job.D, end = last * job.W * job.D;
  const Tensor& panels = job.weight->panels;
  const int64_t steps = panels.shape[1], blocks = panels.shape[0], row_blocks = divide_up(kGroupVoxels, kAmxBlock);
  const int64_t groups = divide_up(end - begin, kGroupVoxels);
  const int64_t a_piece = divide_up(blocks, std::min(blocks, divide_up(kPieces, std::max<int64_t>(1, groups))));
  const int64_t ranges = divide_up(blocks, a_piece), sums = 2 * row_blocks * kAmxRowsStep;
  Workspace workspace(sums + row_blocks * steps * kAmxRowsStep / 2 + kGroupVoxels * in);
  parallel_for(groups * ranges, 1, [&](int64_t index, int64_t) {
    Workspace::Use room(workspace);
    const int64_t voxel = begin + index / ranges * kGroupVoxels, count = std::min(kGroupVoxels, end - voxel);
    char* places[2][kGroupVoxels];
    for (int64_t plane = 0; plane < 2; ++plane) {
      for (int64_t row = 0; row < count; ++row) places[plane][row] = place.of(voxel + row, plane * 4 * place.out);
    }
    AmxUp piece{};
    piece.sums = room.data();
    piece.rounded = reinterpret_cast<uint16_t*>(room.data() + sums);
    piece.x = read(room.data() + sums + row_blocks * steps * kAmxRowsStep / 2, voxel, count);
    piece.rows = count;
    piece.in = in;
    piece.out = job.weight->out;
    piece.steps = steps;
    piece.chunk = divide_up(steps, divide_up(steps, kChunkSteps));
    piece.panels = static_cast<const uint16_t*>(panels.raw());
    piece.first_block = index % ranges * a_piece;
    piece.last_block = std::min(blocks, piece.first_block + a_piece);
    for (int64_t plane = 0; plane < 2; ++plane) piece.places[plane] = places[plane];
    for (int64_t corner = 0; corner < 4; ++corner) {
      piece.offsets[corner] = (corner / 2 * 2 * job.D + corner % 2) * place.out * place.size;
    }
    piece.corner = place.out;
    piece.bias = job.bias;
    piece.half = job.dtype == DType::f16;
    piece.around_cache = job.around_cache;
    tiles.up(piece);
  });
}

/// The kernel as a dense layer of outputs in the order (a, b, c, out).
Tensor rows_of(const Tensor& weight) {
  const int64_t in = weight.shape[0], out = weight.shape[1];
  Tensor rows({8 * out, in});
  const float* from = weight.address<float>();
  float* to = rows.address<float>();
  parallel_for(8 * out, 1, [&](int64_t row, int64_t) {
    const int64_t corner = row / out, o = row % out;
    for (int64_t i = 0; i < in; ++i) to[row * in + i] = from[(i * out + o) * 8 + corner];
  });
  return rows;
}

}  // namespace

bool up_sampling_on_tiles(int64_t out) { return out % kAmxLanes == 0; }

PackedMatrix pack_up_sampling(const Tensor& weight) {
  return {pack_amx_linear(rows_of(weight)), weight.shape[0], 8 * weight.shape[1]};
}

void up_sample(const UpSampling& job, const ReadVoxels& read, int64_t first, int64_t last, const AmxLoops* tiles) {
  if (job.weight->panels.dtype == DType::bf16) {
    SAT_CHECK(tiles, "up_sample: a weight that was packed for matrix units (AMX), on a level without them");
    return tile_up_sample(*tiles, job, read, first, last);
  }
  if (const Simd* simd = current_simd()) return vector_up_sample(*simd, job, read, first, last);
  plain_up_sample(job, read, first, last);
}

UpSampledPlanes::UpSampledPlanes(const Features& low, const UpBlockWeight& weight, int64_t sample, int64_t slab,
                                 const AmxLoops* tiles)
    : weight_(weight),
      tiles_(tiles),
      reader_(low, sample),
      ring_(low.values.shape[1], slab),
      W_(low.values.shape[2]),
      D_(low.values.shape[3]),
      planes_({ring_.planes(), 2 * W_, 2 * D_, weight.conv.up}, weight.conv.store),
      pointers_(size_t(2 * low.values.shape[1]), nullptr) {}

const void* const* UpSampledPlanes::planes(int64_t first, int64_t last) {
  const int64_t plane = planes_.bytes() / ring_.planes();
  ring_.require(first, last, [&](int64_t from, int64_t to) {
    for (int64_t h = 2 * from; h < 2 * to; ++h) {
      pointers_[size_t(h)] = static_cast<char*>(planes_.raw()) + (2 * ring_.place(h / 2) + h % 2) * plane;
    }
    up_sample(
        {W_, D_, &weight_.up, weight_.up_bias.address<float>(), pointers_.data(), planes_.dtype,
         planes_.bytes() >= kAroundCache},
        [&](float* room, int64_t voxel, int64_t count) {
          reader_.read(room, voxel, count);
          return room;
        },
        from, to, tiles_);
  });
  return pointers_.data();
}

PackedMatrix CpuBackend::pack_conv_transpose3d(const Tensor& weight) {
  return {packed_panels(rows_of(weight)), weight.shape[0], 8 * weight.shape[1]};
}

void CpuBackend::conv_transpose3d(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias) {
  const int64_t rows = x.shape[0] * x.shape[1];  // of all samples: both double alike
  const int64_t plane = y.bytes() / std::max<int64_t>(1, 2 * rows);
  std::vector<void*> planes;
  for (int64_t h = 0; h < 2 * rows; ++h) planes.push_back(static_cast<char*>(y.raw()) + h * plane);
  const float* from = x.address<float>();
  up_sample(
      {x.shape[2], x.shape[3], &weight, bias.address<float>(), planes.data(), DType::f32, y.bytes() >= kAroundCache},
      [&](float*, int64_t voxel, int64_t) { return from + voxel * weight.in; }, 0, rows, nullptr);
}

}  // namespace sat::cpu
