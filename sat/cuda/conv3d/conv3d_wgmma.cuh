// Private: the kernel of conv3d_wgmma.cu, and what it and its host side agree on. A block marches through a column of
// voxels, every plane is loaded once, the tensor cores read all 27 taps of it out of shared memory.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <type_traits>

#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/hopper.cuh"
#include "sat/cuda/kernels.h"

namespace sat::cuda::marching {

constexpr int kRows = 16;             // voxels of a column along W
constexpr int kOutputs = 64;          // channels of a result that a block computes
constexpr int kRing = 4;              // planes of the input that a block holds
constexpr int kGroup = 128;           // threads of a warpgroup
constexpr int kThreads = 4 * kGroup;  // loaders, normalisers, and two groups that multiply
// 512 together. Loaders take 27, normalisers up to 77, products 198; none spills.
constexpr int kLoaderRegisters = 32, kNormaliserRegisters = 80, kProductRegisters = 200;

/// How much of the input a block holds. A stage of weights has 16 * kSteps input channels of one tap, kChunks stages a
/// tap. Columns are 16 x 16 voxels where planes of up to 64 channels are held and 16 x 8 above, so that four fit.
template <int kSteps_, int kChunks_>
struct Form {
  static constexpr int kSteps = kSteps_, kChunks = kChunks_;
  static constexpr int kBlocks = 2 * kSteps * kChunks;  // of 8 channels, of a held plane
  static constexpr int kHalves = kBlocks <= 8 ? 2 : 1;  // of 8 voxels along D
  static constexpr int kDepth = 8 * kHalves;
  static constexpr int kPitch = kDepth + 2;             // voxels from row to row of a held plane
  static constexpr int kPixels = (kRows + 2) * kPitch;  // of a held plane
  static constexpr int kPlaneBytes = kPixels * 16 * kBlocks;
  static constexpr int kStageBytes = kOutputs * 32 * kSteps;
  static constexpr int kStages = kBlocks <= 8 ? 7 : 5;
  static constexpr int kSkew = kStages / 2;  // stages by which one group runs ahead of the other
};

struct Arguments {
  CUtensorMap inputs[2];  // {8 channels, D, W, blocks of 8 channels, planes}
  CUtensorMap weights;    // {inputs, outputs, taps}, swizzled
  PendingNorm norms[2];
  int blocks[2];     // of 8 channels, of each input
  int second_block;  // where the second input begins
  int passes;        // over the channels of the inputs, each with as many as a plane holds
  int rings[2];      // planes that are held, or 0
  int lowest;        // plane of a map without a ring that comes first
  int height, width, depth, out;
  int first, last;               // planes of the result
  int columns_along_d, columns;  // of a plane
  int output_blocks;             // of kOutputs channels
  int pairs, items;              // of planes in a column; in all, over columns and blocks of outputs
  bool in_f32;                   // the result, else in the inputs' type
  void* values;
  PartialMoments* partials;
};

/// A run of planes of one column: what a block computes without loading a plane twice, or where it takes several passes
/// over the channels, a pair of planes.
struct March {
  int first, planes;  // planes of the result, an even number: the last one may lie beyond the range that is asked for
  int w, d, column;   // first voxel of the column, and its number
  int out;            // first channel of the result
};

template <class Form>
struct Shared {
  alignas(1024) uint8_t stages[Form::kStages][Form::kStageBytes];
  alignas(128) uint8_t planes[kRing][Form::kPlaneBytes];
  uint64_t plane_loaded[kRing], plane_ready[kRing], plane_free[kRing];
  uint64_t stage_loaded[Form::kStages], stage_free[Form::kStages];
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// A place in the ring of stages, and the parity of the round.
template <int kPlaces>
struct Cursor {
  int place = 0;
  uint32_t parity = 0;
  __device__ void advance() {
    if (++place < kPlaces) return;
    place = 0;
    parity ^= 1;
  }
};

/// Calls body(March) for the runs of this block, in order. Every warp of the block walks the same runs. Neighbouring
/// blocks take the outputs of one column, then the next one, so that they find each other's planes in L2.
template <class Form, class Body>
__device__ __forceinline__ void for_each_march(const Arguments& a, Body body) {
  int item = int(int64_t(a.items) * blockIdx.x / gridDim.x);
  const int end = int(int64_t(a.items) * (blockIdx.x + 1) / gridDim.x);
  while (item < end) {
    const int pair = item % a.pairs, place = item / a.pairs, column = place / a.output_blocks;
    const int pairs = a.passes > 1 ? 1 : min(a.pairs - pair, end - item);
    body(March{a.first + 2 * pair, 2 * pairs, column / a.columns_along_d * kRows,
               column % a.columns_along_d * Form::kDepth, column, place % a.output_blocks * kOutputs});
    item += pairs;
  }
}

/// Plane h of the inputs is one that results need; others are zeros.
__device__ inline bool is_needed(const Arguments& a, int h) { return h >= 0 && h < a.height && h <= a.last; }

/// One thread: weights, stage by stage, in the order in which they are used.
template <class Form>
__device__ __forceinline__ void load_weights(const Arguments& a, Shared<Form>& shared) {
  Cursor<Form::kStages> at;
  for_each_march<Form>(a, [&](const March& march) {
    for (int turn = 0; turn < march.planes / 2 * a.passes; ++turn) {
      const int channel = turn % a.passes * 8 * Form::kBlocks;
      for (int i = 0; i < 27 * Form::kChunks; ++i, at.advance()) {
        hopper::barrier_wait(&shared.stage_free[at.place], at.parity ^ 1);
        hopper::barrier_arrive_expect(&shared.stage_loaded[at.place], Form::kStageBytes);
        hopper::load_box(shared.stages[at.place], &a.weights, &shared.stage_loaded[at.place],
                         channel + i % Form::kChunks * 16 * Form::kSteps, march.out, i / Form::kChunks);
      }
    }
  });
}

/// Calls body(pass, h) for the planes that a march takes, in order: its own and one more on either side, every pass.
template <class Body>
__device__ __forceinline__ void for_each_plane(const Arguments& a, const March& march, Body body) {
  for (int pass = 0; pass < a.passes; ++pass) {
    for (int h = march.first - 1; h <= march.first + march.planes; ++h) body(pass, h);
  }
}

/// One thread: planes with their border of one voxel, as [block of 8 channels][row][voxel along D][8 channels].
template <class Form>
__device__ __forceinline__ void load_planes(const Arguments& a, Shared<Form>& shared) {
  Cursor<kRing> at;
  for_each_march<Form>(a, [&](const March& march) {
    for_each_plane(a, march, [&](int pass, int h) {
      hopper::barrier_wait(&shared.plane_free[at.place], at.parity ^ 1);
      hopper::barrier_arrive_expect(&shared.plane_loaded[at.place], Form::kPlaneBytes);
      const int first = pass * Form::kBlocks;
      for (int input = 0; input < 2; ++input) {
        const int start = input == 0 ? 0 : a.second_block, end = input == 0 ? a.second_block : a.passes * Form::kBlocks;
        if (start >= first + Form::kBlocks || end <= first) continue;
        const int row = !is_needed(a, h) ? -1 : a.rings[input] > 0 ? h % a.rings[input] : h - a.lowest;
        hopper::load_box(shared.planes[at.place] + max(0, start - first) * Form::kPixels * 16, &a.inputs[input],
                         &shared.plane_loaded[at.place], 0, march.d - 1, march.w - 1, max(0, first - start), row);
      }
      at.advance();
    });
  });
}

/// A warpgroup: applies the inputs' pending norm to each plane that arrives, in place. The border outside the volume
/// stays zero. A lane takes one voxel of 8 channels at a time, so that 8 lanes touch 128 contiguous bytes.
template <class T, class Form>
__device__ __forceinline__ void normalise_planes(const Arguments& a, Shared<Form>& shared) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  constexpr int kTurns = (Form::kPixels + 31) / 32;
  Cursor<kRing> at;
  for_each_march<Form>(a, [&](const March& march) {
    uint32_t inside = 0;
    for (int turn = 0; turn < kTurns; ++turn) {
      const int pixel = lane + 32 * turn, w = march.w - 1 + pixel / Form::kPitch;
      const int d = march.d - 1 + pixel % Form::kPitch;
      if (pixel < Form::kPixels && w >= 0 && w < a.width && d >= 0 && d < a.depth) inside |= 1u << turn;
    }
    for_each_plane(a, march, [&](int pass, int h) {
      hopper::barrier_wait(&shared.plane_loaded[at.place], at.parity);
      for (int block = warp; block < Form::kBlocks && is_needed(a, h); block += 4) {
        const int number = pass * Form::kBlocks + block, input = number >= a.second_block ? 1 : 0;
        const int own = number - (input == 0 ? 0 : a.second_block);  // among the input's blocks
        const PendingNorm norm = a.norms[input];
        if (own >= a.blocks[input] || norm.center == nullptr) continue;
        // Three sectors, not a read of each number by every lane.
        const float* const list = lane < 8 ? norm.center : lane < 16 ? norm.factor : norm.shift;
        const float held = lane < 24 ? list[8 * own + lane % 8] : 0;
        float center[8], factor[8], shift[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          center[i] = __shfl_sync(~0u, held, i);
          factor[i] = __shfl_sync(~0u, held, 8 + i);
          shift[i] = __shfl_sync(~0u, held, 16 + i);
        }
        uint4* const pixels = reinterpret_cast<uint4*>(shared.planes[at.place]) + block * Form::kPixels + lane;
#pragma unroll 2
        for (int turn = 0; turn < kTurns; ++turn) {
          if ((inside >> turn & 1) == 0) continue;
          float x[8];
          load_run<T, 8>(x, reinterpret_cast<const T*>(pixels + 32 * turn));
#pragma unroll
          for (int i = 0; i < 8; ++i) x[i] = normalised(x[i], center[i], factor[i], shift[i], norm.slope);
          pixels[32 * turn] = rounded_word<T, 8>(x);
        }
      }
      hopper::fence_async_shared();
      __syncwarp();
      if (lane == 0) hopper::barrier_arrive(&shared.plane_ready[at.place]);
      at.advance();
    });
  });
}

/// Row of weights, and so channel of the result, that row i of the upper (0) or lower (1) 8 rows of a warp's 16 takes.
/// Chosen so that the four lanes that hold a voxel after a transposition hold 4 neighbouring channels each, while 8
/// rows of weights still lie in different banks.
__device__ inline int channel_of(int lower, int i) { return 4 * (i / 2) + i % 2 + 2 * (lower ^ (i / 4)); }

/// Count, mean and M2 of the column's voxels in one plane, a channel at a time: two passes over the sums of a thread,
/// then the four threads of a row. `kWhole`: the column lies inside the volume.
template <bool kWhole, class Form>
__device__ __forceinline__ void store_statistics(const Arguments& a, const March& march, int h,
                                                 const float (&sums)[Form::kHalves][64]) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const int rows = min(kRows, a.width - march.w), depth = min(Form::kDepth, a.depth - march.d);
  const float count = float(rows * depth);
#pragma unroll
  for (int lower = 0; lower < 2; ++lower) {
    float mean = 0, m2 = 0;
#pragma unroll
    for (int pass = 0; pass < 2; ++pass) {
      float parts[2 * Form::kHalves] = {};
#pragma unroll
      for (int half = 0; half < Form::kHalves; ++half) {
#pragma unroll
        for (int i = 0; i < 2 * kRows; ++i) {
          const bool counts = kWhole || (i / 2 < rows && 8 * half + 2 * (lane % 4) + i % 2 < depth);
          const float value = counts ? sums[half][i / 2 * 4 + 2 * lower + i % 2] - mean : 0;
          parts[2 * half + i % 2] += pass == 0 ? value : value * value;
        }
      }
      float total = parts[0] + parts[1];
      if constexpr (Form::kHalves == 2) total += parts[2] + parts[3];
      total += __shfl_xor_sync(~0u, total, 1);
      total += __shfl_xor_sync(~0u, total, 2);
      if (pass == 0) mean = total / count;
      if (pass == 1) m2 = total;
    }
    const int channel = march.out + 16 * warp + channel_of(lower, lane / 4);
    if (lane % 4 == lower && channel < a.out) {
      a.partials[(int64_t(h) * a.columns + march.column) * a.out + channel] = {count, mean, m2};
    }
  }
}

/// From the sums of two voxels in an upper and in a lower row: 4 channels of one voxel, transposed within the warp.
template <class T>
__device__ __forceinline__ uint2 four_channels(T, const float* sums, bool swapped) {
  uint32_t words[2];
#pragma unroll
  for (int lower = 0; lower < 2; ++lower) {
    union {
      T values[2];
      uint32_t word;
    } pair{{rounded<T>(sums[2 * lower]), rounded<T>(sums[2 * lower + 1])}};
    words[lower] = hopper::transposed(pair.word);
  }
  return swapped ? make_uint2(words[1], words[0]) : make_uint2(words[0], words[1]);
}
/// In f32 the two halves of a word travel apart.
__device__ __forceinline__ uint4 four_channels(float, const float* sums, bool swapped) {
  uint32_t words[2][2];
#pragma unroll
  for (int lower = 0; lower < 2; ++lower) {
    const uint32_t x = __float_as_uint(sums[2 * lower]), y = __float_as_uint(sums[2 * lower + 1]);
    const uint32_t low = hopper::transposed(__byte_perm(x, y, 0x5410));
    const uint32_t high = hopper::transposed(__byte_perm(x, y, 0x7632));
    words[lower][0] = __byte_perm(low, high, 0x5410);
    words[lower][1] = __byte_perm(low, high, 0x7632);
  }
  return swapped ? make_uint4(words[1][0], words[1][1], words[0][0], words[0][1])
                 : make_uint4(words[0][0], words[0][1], words[1][0], words[1][1]);
}

/// The results of a column's plane: 8 voxels x 16 channels of a warp are full sectors.
template <bool kWhole, class Result, class Form>
__device__ __forceinline__ void store_values(const Arguments& a, const March& march, int h,
                                             const float (&sums)[Form::kHalves][64]) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, quad = lane % 4;
  const int channel = march.out + 16 * warp + 4 * quad, rows = min(kRows, a.width - march.w);
  const int64_t row_elements = int64_t(a.depth) * a.out;
#pragma unroll
  for (int half = 0; half < Form::kHalves; ++half) {
    const int d = march.d + 8 * half + lane / 4;
    const bool is_mine = (kWhole || d < a.depth) && channel < a.out;
    Result* to =
        static_cast<Result*>(a.values) + (int64_t(h) * a.width + march.w) * row_elements + int64_t(d) * a.out + channel;
#pragma unroll
    for (int row = 0; row < kRows; ++row, to += row_elements) {
      if (!kWhole && row >= rows) continue;
      const auto result = four_channels(Result{}, &sums[half][4 * row], quad >= 2);
      if (is_mine) *reinterpret_cast<std::remove_const_t<decltype(result)>*>(to) = result;
    }
  }
}

template <bool kWhole, class T, class Form>
__device__ __forceinline__ void store_plane(const Arguments& a, const March& march, int h,
                                            const float (&sums)[Form::kHalves][64]) {
  store_statistics<kWhole, Form>(a, march, h, sums);
  if (a.in_f32) {
    store_values<kWhole, float, Form>(a, march, h, sums);
  } else {
    store_values<kWhole, T, Form>(a, march, h, sums);
  }
}

/// A warpgroup: every second plane of each march, group 0 the first of each pair. Both groups take the same stages of
/// weights; group 0 runs a few stages ahead, so that one multiplies while the other stores.
template <class T, class Form>
__device__ __forceinline__ void multiply(const Arguments& a, Shared<Form>& shared, int group) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  constexpr int kSteps = Form::kSteps, kChunks = Form::kChunks;
  const int row = 16 * warp + channel_of(lane / 8 % 2, lane % 8);
  const int swizzle = kSteps == 4 ? row % 8 : row / 2 % 4;
  uint32_t offsets[kSteps];  // of this lane's row of the weights of a step in a stage
#pragma unroll
  for (int step = 0; step < kSteps; ++step) offsets[step] = row * 32 * kSteps + 16 * ((2 * step + lane / 16) ^ swizzle);

  float sums[Form::kHalves][64];
  uint32_t weights[2][kSteps][4];
  Cursor<Form::kStages> at;
  int loaded = 0, released = 0;  // planes before this march; planes that this group has handed back
  const auto release = [&](int until) {
    for (; released < until; ++released) {
      if (lane == 0) hopper::barrier_arrive(&shared.plane_free[released % kRing]);
    }
  };
  for_each_march<Form>(a, [&](const March& march) {
    for (int p = group; p < march.planes; p += 2) {
      if (group == 1) hopper::named_wait(1, 2 * kGroup);
#pragma unroll 1
      for (int turn = 0; turn < 3 * a.passes; ++turn) {
        const int pass = turn / 3, kh = turn % 3, plane = loaded + pass * (march.planes + 2) + p + kh;
        hopper::barrier_wait(&shared.plane_ready[plane % kRing], plane / kRing % 2);
        const uint64_t pixels = hopper::describe(shared.planes[plane % kRing], 16 * Form::kPixels, 16 * Form::kPitch);
#pragma unroll
        for (int i = 0; i < 9 * kChunks; ++i) {
          const int tap = i / kChunks, chunk = i % kChunks;
          hopper::product_wait<1>();  // those that used these registers, two stages ago
          hopper::barrier_wait(&shared.stage_loaded[at.place], at.parity);
          const uint32_t stage = hopper::shared_address(shared.stages[at.place]);
#pragma unroll
          for (int step = 0; step < kSteps; ++step) hopper::load_matrices(weights[i % 2][step], stage + offsets[step]);
          __syncwarp();
          if (lane == 0) hopper::barrier_arrive(&shared.stage_free[at.place]);
          at.advance();
          hopper::product_fence();
#pragma unroll
          for (int step = 0; step < kSteps; ++step) {
#pragma unroll
            for (int half = 0; half < Form::kHalves; ++half) {
              const int offset = tap / 3 * Form::kPitch + tap % 3 + 8 * half;
              hopper::product<T>(sums[half], weights[i % 2][step],
                                 pixels + (2 * (chunk * kSteps + step) * Form::kPixels + offset),
                                 i > 0 || step > 0 || turn > 0);
            }
          }
          hopper::product_commit();
          if (i == Form::kSkew - 1 && turn == 0 && group == 0) hopper::named_arrive(1, 2 * kGroup);
        }
        hopper::product_wait<0>();
        if (kh < 2) release(plane + 1);
        if (kh == 2 && p + 2 >= march.planes) release(loaded + (pass + 1) * (march.planes + 2));
      }
      const int h = march.first + p;
      if (h >= a.last) continue;
      const bool whole = march.w + kRows <= a.width && march.d + Form::kDepth <= a.depth;
      if (whole) store_plane<true, T, Form>(a, march, h, sums);
      if (!whole) store_plane<false, T, Form>(a, march, h, sums);
    }
    loaded += a.passes * (march.planes + 2);
  });
}

#endif

/// 3x3x3 convolution, stride 1, of half inputs, which may have a pending norm:
///   inputs  [H, W, D, C] of T, one or two, channels in multiples of 8
///   weights [27, pad16(out), channels] of T
///   values  [H, W, D, out] of T or f32, planes [first, last);  partials [H, columns, out], one a plane of a column
/// A block marches along H through columns of 16 x 16 voxels (16 x 8 where it holds more than 64 channels; above 128
/// channels it takes passes over them, and moves on by pairs of planes). Bulk loads bring each plane, with a border of
/// one voxel, into a ring of four as [C / 8][18][18][8]: there 8 neighbouring voxels along D are a brick of wgmma's
/// second operand, and a tap only shifts its start by 16 bytes or by a row. Weights are the first operand, 64 outputs x
/// 16 inputs, through registers, so that a stage is free as soon as it was read, and 16 rows of 16 voxels take it
/// twice. Roles: warp 0 loads weights, warp 1 planes, warpgroup 1 applies norms in shared memory, warpgroups 2 and 3
/// multiply, each a plane of its own: two planes share what is loaded of the weights. Numerics: normalised in f32,
/// rounded to T, products of T, sums and statistics in f32 in an order that depends on the shape only. Traffic of two
/// planes of a column, 64 channels: 2 x 18 x 18 x 128 bytes in (1.27 of what they hold), 27 x 8 KB of weights from L2,
/// 2 x 16 x 16 x 128 bytes out; 27,648 clocks of the tensor cores.
template <class T, class Form>
__global__ void __launch_bounds__(kThreads, 1) conv3d_wgmma_kernel(const __grid_constant__ Arguments a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  Shared<Form>& shared = *reinterpret_cast<Shared<Form>*>(dynamic_shared);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kRing; ++i) {
      hopper::barrier_init(&shared.plane_loaded[i], 1);
      hopper::barrier_init(&shared.plane_ready[i], kGroup / 32);
      hopper::barrier_init(&shared.plane_free[i], 2 * kGroup / 32);
    }
    for (int i = 0; i < Form::kStages; ++i) {
      hopper::barrier_init(&shared.stage_loaded[i], 1);
      hopper::barrier_init(&shared.stage_free[i], 2 * kGroup / 32);
    }
    hopper::fence_barrier_init();
  }
  __syncthreads();
  const int group = threadIdx.x / kGroup;
  if (group == 0) {
    hopper::keep_registers<kLoaderRegisters>();
    if (threadIdx.x == 0) load_weights<Form>(a, shared);
    if (threadIdx.x == 32) load_planes<Form>(a, shared);
  } else if (group == 1) {
    hopper::keep_registers<kNormaliserRegisters>();
    normalise_planes<T, Form>(a, shared);
  } else {
    hopper::take_registers<kProductRegisters>();
    multiply<T, Form>(a, shared, group - 2);
  }
#endif
}

}  // namespace sat::cuda::marching
