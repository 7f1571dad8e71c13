// Dense layers on AMX around their loops (dense_loops.h): the weights' layout and the division into pieces.
#include "sat/tensor/cpu/amx/dense.h"

#include <algorithm>

#include "sat/tensor/context.h"
#include "sat/tensor/cpu/amx/matrix_piece.h"
#include "sat/tensor/cpu/workspace.h"
#include "sat/tensor/parallel.h"

namespace sat::cpu {

namespace {

constexpr int64_t kEnoughRows = 64;  // below this the weights are read for too few rows
constexpr int64_t kGroupBlocks = 3;  // blocks of 48 rows that share a reading of the weights from beyond the L2 cache
constexpr int64_t kGroupBytes = 1 << 20;  // of the L2 cache, for a group's rounded rows
constexpr int64_t kChunkSteps = 12;       // 24 KB of weights, half of the L1 cache
constexpr int64_t kPieces = 8;            // at least, where a layer is large enough
constexpr int64_t kLeastBlocks = 8;       // of outputs, since every range of them rounds the rows again

}  // namespace

bool amx_linear_pays(int64_t rows) { return rows >= kEnoughRows; }

Tensor pack_amx_linear(const Tensor& weight) {
  SAT_CHECK(weight.dtype == DType::f32 && weight.shape.rank() == 2, "pack_amx_linear: weight is ", weight.dtype, " ",
            weight.shape, ", needs f32 [out, in]");
  const int64_t out = weight.shape[0], in = weight.shape[1], steps = divide_up(in, kAmxLanes);
  Tensor panels({divide_up(out, kAmxLanes), steps, 2, 16, 32}, DType::bf16);
  const float* from = weight.address<float>();
  bf16* values = panels.address<bf16>();
  parallel_for(panels.shape[0] * steps, 16, [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) {
      for (int64_t i = 0; i < kAmxStep; ++i) {
        const int64_t o = s / steps * kAmxLanes + i / (kAmxStep / 2) * 16 + i / 2 % 16;
        const int64_t k = s % steps * kAmxLanes + i / 32 % 16 * 2 + i % 2;
        values[s * kAmxStep + i] = o < out && k < in ? to_bf16(from[o * in + k]) : bf16{0};
      }
    }
  });
  return panels;
}

void amx_linear(const Dense& layer, const Tensor& panels, const AmxLoops& loops) {
  const int64_t steps = divide_up(layer.in, kAmxLanes), blocks = divide_up(layer.out, kAmxLanes);
  const Shape needed{blocks, steps, 2, 16, 32};
  SAT_CHECK(panels.dtype == DType::bf16 && panels.shape == needed, "amx_linear: weights are ", panels.dtype, " ",
            panels.shape, ", needs bf16 ", needed);
  const int64_t row_blocks = divide_up(layer.rows, kAmxBlock);
  const int64_t block_bytes = std::max<int64_t>(1, steps) * kAmxRowsStep * size_of(DType::bf16);
  const int64_t most = std::clamp<int64_t>(kGroupBytes / block_bytes, 1, kGroupBlocks);
  const int64_t groups = divide_up(row_blocks, most), rows = most * kAmxBlock;
  const int64_t ranges = groups == 0 ? 0 : std::clamp<int64_t>(blocks / kLeastBlocks, 1, divide_up(kPieces, groups));
  const int64_t blocks_a_range = ranges == 0 ? 0 : divide_up(blocks, ranges);
  const int64_t rounded_floats = most * steps * kAmxRowsStep / 2;
  Workspace workspace(rounded_floats + 2 * most * kAmxRowsStep);
  parallel_for(groups * ranges, 1, [&](int64_t index, int64_t) {
    const int64_t first = index / ranges * rows;
    Workspace::Use scratch(workspace);
    AmxDense piece{};
    piece.x = layer.x + first * layer.in;
    piece.y = layer.y + first * layer.out;
    piece.bias = layer.bias;
    piece.residual = layer.residual ? layer.residual + first * layer.out : nullptr;
    piece.scale = layer.scale;
    piece.relu = layer.act == Activation::relu;
    piece.gelu = layer.act == Activation::gelu;
    piece.rows = std::min(rows, layer.rows - first);
    piece.in = layer.in;
    piece.out = layer.out;
    piece.steps = steps;
    piece.chunk = steps == 0 ? 0 : divide_up(steps, divide_up(steps, kChunkSteps));
    piece.panels = static_cast<const uint16_t*>(panels.raw());
    piece.first_block = index % ranges * blocks_a_range;
    piece.last_block = std::min(blocks, piece.first_block + blocks_a_range);
    piece.sums = scratch.data();
    piece.rounded = reinterpret_cast<uint16_t*>(scratch.data() + 2 * most * kAmxRowsStep);
    loops.dense(piece);
  });
}

}  // namespace sat::cpu
