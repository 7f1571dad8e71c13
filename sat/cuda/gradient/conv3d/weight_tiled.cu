// The gradient of a convolution's weight on the f32 units, any kernel, stride and padding: a matrix product whose right
// side, the input at each tap, is gathered tile by tile.
#include "sat/cuda/gradient/conv3d/conv_gradient.h"
#include "sat/cuda/gradient/feature_value.cuh"

namespace sat::cuda {

namespace {

constexpr int kOutputs = 64, kColumns = 64, kDepth = 16;  // of a block's tile; voxels of a step
constexpr int kThreads = 256;
constexpr int kOwn = kColumns / (kThreads / kDepth);  // columns, and outputs, of which a thread loads a voxel
constexpr int kRun = 16;                              // steps that are summed by themselves

/// One column of the sums: an input channel at a tap.
struct Column {
  int tap_h, tap_w, tap_d, c, tap;
  bool there;
  __device__ Column(int64_t at, const WeightGradient& g) {
    const int channels = int(g.x.channels), kw = int(g.kernel[1]), kd = int(g.kernel[2]);
    there = at < g.kernel[0] * kw * kd * channels;
    tap = int(at / channels);
    c = int(at % channels);
    tap_h = tap / kd / kw;
    tap_w = tap / kd % kw;
    tap_d = tap % kd;
  }
};

/// parts [piece][out][in * taps] = dy^T [out, voxels] * x at each tap [voxels, taps * in], in f32.
/// A block takes 64 outputs, 64 columns and a piece of the voxels; 16 voxels of both operands pass through shared
/// memory at a time, and the next 16 are loaded into registers meanwhile. A thread sums 4 x 4: 16 fma against two reads
/// of 16 bytes. It gathers one voxel's value of 4 columns, 16 lanes 16 neighbouring columns: 64 contiguous bytes where
/// a tap has 16 channels. x's norm is taken as it is loaded; zeros of the padding come behind it. Voxels run in order;
/// 256 are summed by themselves, and these sums are added in order. Traffic: dy once for 64 columns, x once for 64
/// outputs and a tap (mostly from the L2 cache), 1 write of the parts.
__global__ void __launch_bounds__(kThreads) weight_gradient_tiled_kernel(const WeightGradient g, int64_t piece_voxels) {
  __shared__ float norm[3][kColumns];  // center, factor, shift of each column; 0, 1, 0 for none
  __shared__ __align__(16) float left[2][kDepth][kOutputs], right[2][kDepth][kColumns];
  const int lane = int(threadIdx.x) % kDepth, depth = int(threadIdx.x) / kDepth;  // of what this thread loads
  const int64_t column0 = int64_t(blockIdx.x) * kColumns, output0 = int64_t(blockIdx.y) * kOutputs;
  const int64_t all = g.out_size[0] * g.out_size[1] * g.out_size[2];
  const int64_t first = blockIdx.z * piece_voxels, last = min(first + piece_voxels, all);
  const int H = int(g.in_size[0]), W = int(g.in_size[1]), D = int(g.in_size[2]), in = int(g.x.channels);
  const Column own[kOwn] = {
      {column0 + lane, g}, {column0 + lane + 16, g}, {column0 + lane + 32, g}, {column0 + lane + 48, g}};
  if (threadIdx.x < kColumns) {
    const Column of(column0 + threadIdx.x, g);
    const bool has_norm = of.there && g.x.norm.center != nullptr;
    norm[0][threadIdx.x] = has_norm ? g.x.norm.center[of.c] : 0.f;
    norm[1][threadIdx.x] = has_norm ? g.x.norm.factor[of.c] : 1.f;
    norm[2][threadIdx.x] = has_norm ? g.x.norm.shift[of.c] : 0.f;
  }
  const auto* dy = static_cast<const float*>(g.dy);
  const float slope = g.x.norm.slope;
  const int out_w = int(g.out_size[1]), out_d = int(g.out_size[2]);
  int64_t voxel = first + depth;  // that this thread loads next, and where it lies
  int at_d = int(voxel % out_d), at_w = int(voxel / out_d % out_w), at_h = int(voxel / out_d / out_w);
  float loaded[kOwn], upstream[kOwn];
  const auto load = [&] {
    const bool there = voxel < last;
    const int h0 = at_h * int(g.stride[0]) - int(g.padding[0]), w0 = at_w * int(g.stride[1]) - int(g.padding[1]);
    const int d0 = at_d * int(g.stride[2]) - int(g.padding[2]);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int h = h0 + own[i].tap_h, w = w0 + own[i].tap_w, d = d0 + own[i].tap_d;
      const bool inside =
          there && own[i].there && unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W) && unsigned(d) < unsigned(D);
      loaded[i] = 0;
      if (inside) {
        const int at = lane + i * kDepth;
        loaded[i] = normalised(raw_value(g.x, ((int64_t(h) * W + w) * D + d) * in + own[i].c), norm[0][at], norm[1][at],
                               norm[2][at], slope);
      }
      const int64_t o = output0 + lane + i * kDepth;
      upstream[i] = there && o < g.out ? dy[voxel * g.out + o] : 0.f;
    }
    voxel += kDepth;
    for (at_d += kDepth; at_d >= out_d;) {
      at_d -= out_d;
      if (++at_w < out_w) continue;
      at_w = 0;
      ++at_h;
    }
  };

  const int row = int(threadIdx.x) / 16 * 4, column = int(threadIdx.x) % 16 * 4;  // of this thread's sums
  float sums[4][4] = {}, run[4][4] = {};
  const int64_t steps = (last - first + kDepth - 1) / kDepth;
  __syncthreads();
  load();
  for (int64_t step = 0; step < steps; ++step) {
    const int half = int(step % 2);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      left[half][depth][lane + i * kDepth] = upstream[i];
      right[half][depth][lane + i * kDepth] = loaded[i];
    }
    __syncthreads();
    if (step + 1 < steps) load();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      const float4 a = *reinterpret_cast<const float4*>(&left[half][k][row]);
      const float4 b = *reinterpret_cast<const float4*>(&right[half][k][column]);
      const float of[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        run[i][0] = fmaf(of[i], b.x, run[i][0]);
        run[i][1] = fmaf(of[i], b.y, run[i][1]);
        run[i][2] = fmaf(of[i], b.z, run[i][2]);
        run[i][3] = fmaf(of[i], b.w, run[i][3]);
      }
    }
    if (step % kRun != kRun - 1 && step + 1 < steps) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += run[i][j], run[i][j] = 0;
    }
  }

  const int64_t taps = g.kernel[0] * g.kernel[1] * g.kernel[2];
  for (int j = 0; j < 4; ++j) {
    const Column to(column0 + column + j, g);
    for (int i = 0; i < 4; ++i) {
      const int64_t o = output0 + row + i;
      if (to.there && o < g.out) g.parts[((blockIdx.z * g.out + o) * in + to.c) * taps + to.tap] = sums[i][j];
    }
  }
}

}  // namespace

void weight_gradient_tiled(const Stream& stream, const WeightGradient& g) {
  const int64_t voxels = g.out_size[0] * g.out_size[1] * g.out_size[2];
  const dim3 grid(unsigned(divide_up(g.taps() * g.x.channels, kColumns)), unsigned(divide_up(g.out, kOutputs)),
                  unsigned(g.pieces));
  launch(stream, {"weight_gradient_tiled", grid, kThreads}, weight_gradient_tiled_kernel, g,
         divide_up(voxels, g.pieces));
}

}  // namespace sat::cuda
