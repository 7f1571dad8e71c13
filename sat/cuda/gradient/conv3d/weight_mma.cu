// The gradient of a 3x3x3 convolution's weight on tensor cores.
#include "sat/cuda/device/tensor_core.cuh"
#include "sat/cuda/gradient/conv3d/conv_gradient.h"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kOutputs = 64, kInputs = 64;  // channels of a block
constexpr int kDepth = 32;                  // voxels of a step, along a line
constexpr int kPieces = 8;                  // of 16 bytes in a row of 64 channels
constexpr int kStages = 3;                  // steps in shared memory

/// As load_matrices(), each matrix transposed: a lane gets of matrix i the elements of rows 2 * (l % 4) and + 1 in
/// column l / 4.
__device__ void load_transposed(uint32_t (&to)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

/// parts [piece][out][in * 27]: for one (kh, kw) and the three kd, dy^T [out, voxels] * x [voxels + kd, in], both bf16.
/// A block takes 64 outputs, 64 inputs, one row of taps and a piece of the volume's lines along D, 32 voxels at a time:
/// dy [32][64] and x [32 * stride + 2][64] are copied to shared memory two steps ahead, and the three taps read the
/// same x, a row further each: ldmatrix takes a row's address a lane, so that a shift, or a stride, costs nothing. Of a
/// step's 64 x 64 sums a tap, each of the 8 warps has 32 x 16. Sums in f32 over the voxels of a piece, in order.
/// Traffic: x and dy nine times for 64 inputs and 64 outputs (blocks of one piece run side by side, so all but the
/// first come from the L2 cache), 1 write of the parts.
template <int kStride>
__global__ void __launch_bounds__(kThreads, 2) weight_gradient_mma_kernel(const WeightGradient g, int piece_lines) {
  constexpr int kRows = (kDepth - 1) * kStride + 3;  // of x
  __shared__ uint4 upstream[kStages][kDepth * kPieces], inputs[kStages][kRows * kPieces];
  const int channels = int(g.x.channels), out = int(g.out), in_blocks = (channels + kInputs - 1) / kInputs;
  const int tap_row = int(blockIdx.x) / in_blocks, kh = tap_row / 3, kw = tap_row % 3;
  const int input0 = int(blockIdx.x) % in_blocks * kInputs, output0 = int(blockIdx.y) * kOutputs;
  const int W = int(g.out_size[1]), D = int(g.out_size[2]), lines = int(g.out_size[0]) * W;
  const int first_line = int(blockIdx.z) * piece_lines, last_line = min(first_line + piece_lines, lines);
  const int steps_a_line = (D + kDepth - 1) / kDepth;
  const int piece = int(threadIdx.x) % kPieces, row = int(threadIdx.x) / kPieces;  // of what this thread copies
  const int c = input0 + piece * 8, o = output0 + piece * 8;

  int line = first_line, d0 = 0;  // of the step that is copied next
  const auto copy = [&](int stage) {
    if (line < last_line) {
      const auto* dy = static_cast<const __nv_bfloat16*>(g.dy) + (int64_t(line) * D + d0 + row) * out + o;
      copy_async16(shared_address(upstream[stage]) + swizzled<kPieces>(row, piece), dy, d0 + row < D && o < out);
      const int h = line / W * kStride + kh - 1, w = line % W * kStride + kw - 1;
      const bool is_line = unsigned(h) < unsigned(g.in_size[0]) && unsigned(w) < unsigned(g.in_size[1]) && c < channels;
      const auto* x =
          static_cast<const __nv_bfloat16*>(g.x.values) + (int64_t(h) * g.in_size[1] + w) * g.in_size[2] * channels + c;
      for (int to = row; to < kRows; to += kThreads / kPieces) {
        const int d = d0 * kStride - 1 + to;
        copy_async16(shared_address(inputs[stage]) + swizzled<kPieces>(to, piece), x + int64_t(d) * channels,
                     is_line && unsigned(d) < unsigned(g.in_size[2]));
      }
      d0 += kDepth;
      if (d0 >= D) d0 = 0, ++line;
    }
    close_copies();
  };

  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  const int warp_out = warp % 2 * 32, warp_in = warp / 2 * 16;
  float sums[3][2][2][4] = {};  // [kd][16 outputs][8 inputs]
  const int steps = (last_line - first_line) * steps_a_line;
  for (int stage = 0; stage < kStages - 1; ++stage) copy(stage);
  for (int step = 0, at = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the step is there for all, and the one before it is read
    const int stage = step % kStages;
    copy((step + kStages - 1) % kStages);
    const uint32_t dy_rows = shared_address(upstream[stage]), x_rows = shared_address(inputs[stage]);
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      if (at + k >= D) break;
      uint32_t a[2][4], b[3][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {  // matrices: voxels 0-7 of outputs 0-7 and 8-15, then voxels 8-15
        load_transposed(a[i],
                        dy_rows + swizzled<kPieces>(k + lane / 16 * 8 + lane % 8, warp_out / 8 + i * 2 + lane / 8 % 2));
      }
#pragma unroll
      for (int tap = 0; tap < 3; ++tap) {  // matrices: voxels 0-7 and 8-15 of inputs 0-7, then of inputs 8-15
        load_transposed(b[tap], x_rows + swizzled<kPieces>((k + lane / 8 % 2 * 8 + lane % 8) * kStride + tap,
                                                           warp_in / 8 + lane / 16));
      }
#pragma unroll
      for (int tap = 0; tap < 3; ++tap) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          multiply_add<__nv_bfloat16>(sums[tap][i][0], a[i], b[tap][0], b[tap][1]);
          multiply_add<__nv_bfloat16>(sums[tap][i][1], a[i], b[tap][2], b[tap][3]);
        }
      }
    }
    at = at + kDepth < D ? at + kDepth : 0;
  }

#pragma unroll
  for (int tap = 0; tap < 3; ++tap) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int to_o = output0 + warp_out + i * 16 + lane / 4 + k / 2 * 8;
          const int to_c = input0 + warp_in + j * 8 + lane % 4 * 2 + k % 2;
          if (to_o >= out || to_c >= channels) continue;
          g.parts[((blockIdx.z * g.out + to_o) * channels + to_c) * 27 + tap_row * 3 + tap] = sums[tap][i][j][k];
        }
      }
    }
  }
}

}  // namespace

std::string weight_gradient_mma_refusal(const WeightGradient& g) {
  const std::array<int64_t, 3> threes{3, 3, 3}, ones{1, 1, 1}, twos{2, 2, 2};
  if (g.kernel != threes || g.padding != ones) return "needs a 3x3x3 kernel with padding 1";
  if (g.stride != ones && g.stride != twos) return "needs stride 1 or 2";
  if (g.out % 8 != 0 || g.x.channels % 8 != 0) return "needs channels in multiples of 8";
  return "";
}

void weight_gradient_mma(const Stream& stream, const WeightGradient& g) {
  const int64_t lines = g.out_size[0] * g.out_size[1];
  const dim3 grid(unsigned(9 * divide_up(g.x.channels, kInputs)), unsigned(divide_up(g.out, kOutputs)),
                  unsigned(g.pieces));
  const auto kernel = g.stride[0] == 1 ? weight_gradient_mma_kernel<1> : weight_gradient_mma_kernel<2>;
  launch(stream, {"weight_gradient_mma", grid, kThreads}, kernel, g, int(divide_up(lines, g.pieces)));
}

}  // namespace sat::cuda
