// The general convolution as a matrix product whose left side is never stored: its rows are gathered from the volume
// into shared memory, tile by tile.
#include "sat/cuda/conv3d/general/conv3d_general.h"

namespace sat::cuda {

namespace {

constexpr int kVoxels = 128, kOutputs = 64, kDepth = 16;  // of a block's tile; terms of a step
constexpr int kThreads = 256;
constexpr int kRows = kVoxels / (kThreads / kDepth);  // voxels of which a thread loads a term
constexpr int kRun = 16;                              // steps that are summed by themselves
constexpr int kPitch = kVoxels + 4;

/// Where a voxel of the tile lies in the row of a term. The upper terms have the pairs of every four swapped, so that
/// 16 lanes, which store a term each of two neighbouring voxels, write to 32 different banks.
__device__ constexpr int place_of(int voxel, int term) { return voxel ^ (term / 8 * 2); }

/// Where the first tap of a voxel lies, perhaps outside of the volume.
struct Corner {
  int h, w, d, there;  // `there`: 0 behind the last voxel
};

/// A term of the sums: an input channel of a tap. Steps forward without a division.
struct Term {
  int tap_h, tap_w, tap_d, c;

  __device__ Term(int at, const GeneralConv& conv) {
    const int tap = at / int(conv.in), kw = int(conv.kernel[1]), kd = int(conv.kernel[2]);
    c = at - tap * int(conv.in);
    tap_h = tap / kd / kw;
    tap_w = tap / kd % kw;
    tap_d = tap % kd;
  }
  __device__ void advance(int terms, const GeneralConv& conv) {
    for (c += terms; c >= int(conv.in);) {
      c -= int(conv.in);
      if (++tap_d < int(conv.kernel[2])) continue;
      tap_d = 0;
      if (++tap_w < int(conv.kernel[1])) continue;
      tap_w = 0;
      ++tap_h;
    }
  }
};

/// y [B, H', W', D', out] from x [B, H, W, D, in] and weights [taps * in][out], all in f32.
/// The product of [voxels, taps * in], which is gathered, and the weights. A block takes 128 voxels and 64 outputs;
/// 16 terms of both pass through shared memory at a time, and the next 16 are loaded into registers meanwhile. A thread
/// sums 8 voxels (two runs of four, 64 apart) by 4 outputs: 32 fma against three reads of 16 bytes. It gathers one
/// term of 8 voxels, so that 16 lanes read 64 contiguous bytes where a tap has 16 channels. Terms run over taps and
/// channels in order; 256 of them are summed by themselves, and these sums are added in order, so a voxel's bits depend
/// on nothing but its neighbourhood. Zeros of the padding are multiplied like any value.
/// Traffic: x once a tap and 64 outputs (from the L1 and L2 caches but for the first), weights once a block, y once.
template <bool kFours>
__global__ void __launch_bounds__(kThreads, 2) conv3d_general_tiled_kernel(const GeneralConv conv) {
  __shared__ __align__(16) float voxels[2][kDepth][kPitch], weights[2][kDepth][kOutputs];
  __shared__ Corner corners[kVoxels];
  __shared__ int64_t samples[kVoxels];
  const int H = int(conv.in_size[0]), W = int(conv.in_size[1]), D = int(conv.in_size[2]);
  const int64_t voxel0 = int64_t(blockIdx.x) * kVoxels, all = conv.voxels();
  const int output0 = int(blockIdx.y) * kOutputs, out = int(conv.out), in = int(conv.in);
  const int terms = int(conv.kernel[0] * conv.kernel[1] * conv.kernel[2]) * in;
  if (threadIdx.x < kVoxels) {
    const int64_t voxel = voxel0 + threadIdx.x, d_size = conv.out_size[2], w_size = conv.out_size[1];
    const int64_t line = voxel / d_size, plane = line / w_size;
    corners[threadIdx.x] = {int(plane % conv.out_size[0] * conv.stride[0] - conv.padding[0]),
                            int(line % w_size * conv.stride[1] - conv.padding[1]),
                            int(voxel % d_size * conv.stride[2] - conv.padding[2]), voxel < all};
    samples[threadIdx.x] = plane / conv.out_size[0] * H * W * D * in;
  }

  const int lane = int(threadIdx.x) % kDepth, first_row = int(threadIdx.x) / kDepth;  // of what this thread gathers
  const int weight_row = int(threadIdx.x) / (kOutputs / 4), weight_column = int(threadIdx.x) % (kOutputs / 4) * 4;
  Term term(lane, conv);
  float gathered[kRows], weight[4];
  const auto load = [&](int step) {
    const bool is_term = step * kDepth + lane < terms;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = first_row + i * (kThreads / kDepth);
      const Corner corner = corners[row];
      const int h = corner.h + term.tap_h, w = corner.w + term.tap_w, d = corner.d + term.tap_d;
      const bool inside = is_term && corner.there && unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W) &&
                          unsigned(d) < unsigned(D);
      gathered[i] = inside ? conv.x[samples[row] + ((int64_t(h) * W + w) * D + d) * in + term.c] : 0.f;
    }
    term.advance(kDepth, conv);
    const int k = step * kDepth + weight_row, o = output0 + weight_column;
    const float* from = conv.weights + int64_t(k) * out + o;
    if constexpr (kFours) {
      const float4 four = k < terms && o < out ? *reinterpret_cast<const float4*>(from) : float4{0, 0, 0, 0};
      weight[0] = four.x, weight[1] = four.y, weight[2] = four.z, weight[3] = four.w;
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) weight[j] = k < terms && o + j < out ? from[j] : 0.f;
    }
  };
  const auto store = [&](int half) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      voxels[half][lane][place_of(first_row + i * (kThreads / kDepth), lane)] = gathered[i];
    *reinterpret_cast<float4*>(&weights[half][weight_row][weight_column]) = {weight[0], weight[1], weight[2],
                                                                             weight[3]};
  };

  const int row = int(threadIdx.x) / 16 * 4, column = int(threadIdx.x) % 16 * 4;  // of this thread's sums
  float sums[8][4] = {}, run[8][4] = {};
  const int steps = (terms + kDepth - 1) / kDepth;
  __syncthreads();
  load(0);
  for (int step = 0; step < steps; ++step) {
    const int half = step % 2;
    store(half);
    __syncthreads();
    if (step + 1 < steps) load(step + 1);
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      const float4 right = *reinterpret_cast<const float4*>(&weights[half][k][column]);
      const float4 low = *reinterpret_cast<const float4*>(&voxels[half][k][row]);
      const float4 high = *reinterpret_cast<const float4*>(&voxels[half][k][row + kVoxels / 2]);
      const float left[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float value = left[place_of(i, k)];
        run[i][0] = fmaf(value, right.x, run[i][0]);
        run[i][1] = fmaf(value, right.y, run[i][1]);
        run[i][2] = fmaf(value, right.z, run[i][2]);
        run[i][3] = fmaf(value, right.w, run[i][3]);
      }
    }
    if (step % kRun != kRun - 1 && step + 1 < steps) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += run[i][j], run[i][j] = 0;
    }
  }

  const int o = output0 + column;
  float bias[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) bias[j] = conv.bias && o + j < out ? conv.bias[o + j] : 0.f;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int64_t voxel = voxel0 + row + i % 4 + i / 4 * (kVoxels / 2);
    if (voxel >= all) continue;
    float* to = conv.y + voxel * out + o;
    const float4 four{sums[i][0] + bias[0], sums[i][1] + bias[1], sums[i][2] + bias[2], sums[i][3] + bias[3]};
    if constexpr (kFours) {
      if (o < out) __stwb(reinterpret_cast<float4*>(to), four);
    } else {
      const float values[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (o + j < out) to[j] = values[j];
      }
    }
  }
}

}  // namespace

void conv3d_general_tiled(const Stream& stream, const GeneralConv& conv) {
  const dim3 grid(unsigned(divide_up(conv.voxels(), kVoxels)), unsigned(divide_up(conv.out, kOutputs)));
  const Launch how{"conv3d_general", grid, kThreads};
  if (conv.out % 4 == 0) return launch(stream, how, conv3d_general_tiled_kernel<true>, conv);
  launch(stream, how, conv3d_general_tiled_kernel<false>, conv);
}

}  // namespace sat::cuda
