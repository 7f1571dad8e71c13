// The Hopper rung of the convolutions: a block marches through a column of voxels, every plane is loaded once, the
// tensor cores read all 27 taps of it out of shared memory.
#include <cuda.h>

#include <algorithm>
#include <string>
#include <utility>

#include "sat/cuda/half_types.cuh"
#include "sat/cuda/hopper.cuh"
#include "sat/cuda/kernels.h"

namespace sat::cuda {

namespace {

constexpr int kRows = 16;             // voxels of a column along W
constexpr int kOutputs = 64;          // channels of a result that a block computes
constexpr int kRing = 4;              // planes of the input that a block holds
constexpr int kGroup = 128;           // threads of a warpgroup
constexpr int kThreads = 4 * kGroup;  // loaders, normalisers, and two groups that multiply
constexpr int kLoaderRegisters = 24, kNormaliserRegisters = 72, kProductRegisters = 208;  // 512 together

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
  static constexpr int kStages = kBlocks <= 8 ? 6 : 5;
  static constexpr int kSkew = 3;  // stages by which one group runs ahead of the other
};

/// Channels of both inputs as the weights hold them.
int64_t padded_channels(const Conv& conv) { return pad16(conv.inputs[0].channels) + pad16(conv.inputs[1].channels); }

/// Calls body(Form{}): up to 128 channels with the smallest form that holds them all, beyond with one that takes them
/// pass by pass. The choice depends on shapes alone.
template <class Body>
auto with_form(const Conv& conv, Body body) {
  const int64_t channels = padded_channels(conv);
  if (channels <= 32) return body(Form<2, 1>{});
  if (channels <= 64) return body(Form<4, 1>{});
  if (channels <= 96) return body(Form<2, 3>{});
  const bool passes_of_128 = conv.inputs[1].channels == 0 || conv.inputs[0].channels % 128 == 0;
  if (channels <= 128 || (channels <= 512 && conv.in_size[2] <= 8 && passes_of_128)) return body(Form<4, 2>{});
  return body(Form<4, 1>{});
}

struct Arguments {
  CUtensorMap inputs[2];  // {8 channels, D, W, blocks of 8 channels, planes}
  CUtensorMap weights;    // {inputs, outputs, taps}, swizzled
  Norm norms[2];
  int blocks[2];     // of 8 channels, of each input
  int second_block;  // where the second input begins
  int passes;        // over the channels of the inputs, each with as many as a plane holds
  int rings[2];      // planes that are held, or 0
  int lowest;        // plane of a map without a ring that comes first
  int height, width, depth, out;
  int first, last;               // planes of the result
  int columns_along_d, columns;  // of a plane
  int pairs, items;              // of planes in a column; in all, times the blocks of outputs
  bool in_f32;                   // the result, else in the inputs' type
  void* values;
  Slot* slots;
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
  alignas(16) float norms[1];  // and more: of each channel of the inputs its center, then factors, then shifts
};

template <class Form>
int64_t shared_bytes(int64_t passes) {
  return int64_t(sizeof(Shared<Form>)) + 3 * 4 * 8 * Form::kBlocks * passes;
}

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

/// Calls body(March) for the runs of this block, in order. Every warp of the block walks the same runs.
template <class Form, class Body>
__device__ __forceinline__ void for_each_march(const Arguments& a, Body body) {
  int item = int(int64_t(a.items) * blockIdx.x / gridDim.x);
  const int end = int(int64_t(a.items) * (blockIdx.x + 1) / gridDim.x);
  while (item < end) {
    const int pair = item % a.pairs, place = item / a.pairs, column = place % a.columns;
    const int pairs = a.passes > 1 ? 1 : min(a.pairs - pair, end - item);
    body(March{a.first + 2 * pair, 2 * pairs, column / a.columns_along_d * kRows,
               column % a.columns_along_d * Form::kDepth, column, place / a.columns * kOutputs});
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

/// A warpgroup: what the inputs still owe, once for each plane that arrives, in place. The border outside the volume
/// stays zero. A lane takes one voxel of 8 channels at a time, so that 8 lanes touch 128 contiguous bytes.
template <class T, class Form>
__device__ __forceinline__ void normalise_planes(const Arguments& a, Shared<Form>& shared) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const int held = a.passes * Form::kBlocks;
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
        if (number - (input == 0 ? 0 : a.second_block) >= a.blocks[input] || a.norms[input].center == nullptr) continue;
        const float slope = a.norms[input].slope;
        float norm[3][8];
#pragma unroll
        for (int i = 0; i < 24; ++i) norm[i / 8][i % 8] = shared.norms[(i / 8 * held + number) * 8 + i % 8];
        uint4* const pixels = reinterpret_cast<uint4*>(shared.planes[at.place]) + block * Form::kPixels + lane;
#pragma unroll 2
        for (int turn = 0; turn < kTurns; ++turn) {
          if ((inside >> turn & 1) == 0) continue;
          float x[8];
          load_run<T, 8>(x, reinterpret_cast<const T*>(pixels + 32 * turn));
#pragma unroll
          for (int i = 0; i < 8; ++i) x[i] = normalised(x[i], norm[0][i], norm[1][i], norm[2][i], slope);
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
/// then the four threads of a row.
template <class Form>
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
      float parts[2] = {0, 0};
#pragma unroll
      for (int half = 0; half < Form::kHalves; ++half) {
#pragma unroll
        for (int i = 0; i < 2 * kRows; ++i) {
          const bool counts = i / 2 < rows && 8 * half + 2 * (lane % 4) + i % 2 < depth;
          const float value = counts ? sums[half][i / 2 * 4 + 2 * lower + i % 2] - mean : 0;
          parts[i % 2] += pass == 0 ? value : value * value;
        }
      }
      float total = parts[0] + parts[1];
      total += __shfl_xor_sync(~0u, total, 1);
      total += __shfl_xor_sync(~0u, total, 2);
      if (pass == 0) mean = total / count;
      if (pass == 1) m2 = total;
    }
    const int channel = march.out + 16 * warp + channel_of(lower, lane / 4);
    if (lane % 4 == lower && channel < a.out) {
      a.slots[(int64_t(h) * a.columns + march.column) * a.out + channel] = {count, mean, m2};
    }
  }
}

/// The results of a column's plane. Transposed in registers, 8 voxels x 16 channels of a warp are full sectors.
template <class T, class Form>
__device__ __forceinline__ void store_values(const Arguments& a, const March& march, int h,
                                             const float (&sums)[Form::kHalves][64]) {
  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, quad = lane % 4;
  const int channel = march.out + 16 * warp + 4 * quad, rows = min(kRows, a.width - march.w);
  const int64_t row_elements = int64_t(a.depth) * a.out;
#pragma unroll
  for (int half = 0; half < Form::kHalves; ++half) {
    const int d = march.d + 8 * half + lane / 4;
    const bool is_mine = d < a.depth && channel < a.out;
    int64_t offset = (int64_t(h) * a.width + march.w) * row_elements + int64_t(d) * a.out + channel;
#pragma unroll
    for (int row = 0; row < kRows; ++row, offset += row_elements) {
      if (row >= rows) continue;
      const float* const value = &sums[half][4 * row];  // two voxels of an upper, two of a lower row
      if (a.in_f32) {
        uint32_t words[2][2];
#pragma unroll
        for (int lower = 0; lower < 2; ++lower) {  // the two halves of a word travel apart
          const uint32_t x = __float_as_uint(value[2 * lower]), y = __float_as_uint(value[2 * lower + 1]);
          const uint32_t low = hopper::transposed(__byte_perm(x, y, 0x5410));
          const uint32_t high = hopper::transposed(__byte_perm(x, y, 0x7632));
          words[lower][0] = __byte_perm(low, high, 0x5410);
          words[lower][1] = __byte_perm(low, high, 0x7632);
        }
        const uint4 result = quad < 2 ? make_uint4(words[0][0], words[0][1], words[1][0], words[1][1])
                                      : make_uint4(words[1][0], words[1][1], words[0][0], words[0][1]);
        if (is_mine) *reinterpret_cast<uint4*>(static_cast<float*>(a.values) + offset) = result;
      } else {
        uint32_t words[2];
#pragma unroll
        for (int lower = 0; lower < 2; ++lower) {
          union {
            T values[2];
            uint32_t word;
          } pair{{rounded<T>(value[2 * lower]), rounded<T>(value[2 * lower + 1])}};
          words[lower] = hopper::transposed(pair.word);
        }
        const uint2 result = quad < 2 ? make_uint2(words[0], words[1]) : make_uint2(words[1], words[0]);
        if (is_mine) *reinterpret_cast<uint2*>(static_cast<T*>(a.values) + offset) = result;
      }
    }
  }
}

/// A warpgroup: every second plane of each march, group 0 the even ones. Both groups take the same stages of weights;
/// group 0 runs a few stages ahead, so that one multiplies while the other stores.
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
      store_statistics<Form>(a, march, h, sums);
      store_values<T, Form>(a, march, h, sums);
    }
    loaded += a.passes * (march.planes + 2);
  });
}

#endif

/// 3x3x3 convolution, stride 1, of half inputs that may owe a norm:
///   inputs  [H, W, D, C] of T, one or two, channels in multiples of 8
///   weights [27, pad16(out), channels] of T
///   values  [H, W, D, out] of T or f32, planes [first, last);  slots [H, columns, out], one a plane of a column
/// A block marches along H through columns of 16 x 16 voxels (16 x 8 where it holds more than 64 channels; above 128
/// channels it takes passes over them, and moves on by pairs of planes). Bulk loads bring each plane,
/// with a border of one voxel, into a ring of four as [C / 8][18][18][8]: there 8 neighbouring voxels along D are a
/// brick of wgmma's second operand, and a tap only shifts its start by 16 bytes or by a row. Weights are the first
/// operand, 64 outputs x 16 inputs, through registers. Roles: warp 0 loads weights, warp 1 planes, warpgroup 1 applies
/// norms in shared memory, warpgroups 2 and 3 multiply, each a whole plane of two neighbouring ones.
/// Numerics: normalised in f32, rounded to T, products of T, sums and statistics in f32 in an order that depends on the
/// shape only. Traffic of a pair of planes: 2 planes of 18 x 18 x C (1.27 of what they hold), weights once from L2, the
/// result once. Shared memory reads of 8 KB for every 128 clocks of the tensor cores, weights 8 KB once a tap and
/// group.
template <class T, class Form>
__global__ void __launch_bounds__(kThreads, 1) conv3d_wgmma_kernel(const __grid_constant__ Arguments a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t dynamic_shared[];
  Shared<Form>& shared = *reinterpret_cast<Shared<Form>*>(dynamic_shared);
  const int held = 8 * Form::kBlocks * a.passes;
  for (int i = threadIdx.x; i < held; i += kThreads) {
    const int input = i >= 8 * a.second_block ? 1 : 0, channel = i - (input == 0 ? 0 : 8 * a.second_block);
    if (channel >= 8 * a.blocks[input] || a.norms[input].center == nullptr) continue;
    shared.norms[i] = a.norms[input].center[channel];
    shared.norms[held + i] = a.norms[input].factor[channel];
    shared.norms[2 * held + i] = a.norms[input].shift[channel];
  }
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

/// Describes an array for bulk loads; sizes from the innermost, strides in bytes without the innermost.
template <size_t kRank>
CUtensorMap tensor_map(DType dtype, const void* values, const std::array<int64_t, kRank>& sizes,
                       const std::array<int64_t, kRank - 1>& strides, const std::array<int64_t, kRank>& box,
                       CUtensorMapSwizzle swizzle) {
  // Through the runtime, so that the program starts on a machine without a driver.
  static const auto encode = [] {
    void* symbol = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &symbol, 12000, cudaEnableDefault, &found),
          "cuTensorMapEncodeTiled");
    SAT_CHECK(symbol != nullptr, "this driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(symbol);
  }();
  cuuint64_t dims[kRank], bytes[kRank];
  cuuint32_t boxes[kRank], steps[kRank];
  for (size_t i = 0; i < kRank; ++i) {
    dims[i] = cuuint64_t(sizes[i]);
    bytes[i] = i + 1 < kRank ? cuuint64_t(strides[i]) : 0;
    boxes[i] = cuuint32_t(box[i]);
    steps[i] = 1;
  }
  CUtensorMap map{};
  const CUresult status =
      encode(&map, dtype == DType::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
             cuuint32_t(kRank), const_cast<void*>(values), dims, bytes, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  SAT_CHECK(status == CUDA_SUCCESS, "cuTensorMapEncodeTiled failed with ", int(status), " for ", sizes[kRank - 1],
            " planes at ", values);
  return map;
}

template <class T, class Form>
void march(const Queue& queue, const Conv& conv) {
  const auto [H, W, D] = conv.in_size;
  const int64_t channels = padded_channels(conv), second_block = pad16(conv.inputs[0].channels) / 8;
  Arguments a{};
  a.lowest = int(std::max<int64_t>(0, conv.first - 1));
  const int64_t needed = std::min(H, conv.last + 1) - a.lowest;
  a.passes = int(divide_up(channels, 8 * Form::kBlocks));
  for (size_t i = 0; i < 2; ++i) {
    const ConvInput& input = conv.inputs[i];
    if (input.channels == 0) continue;
    const int64_t pixel = 2 * input.channels, plane = W * D * pixel;  // bytes
    int64_t blocks = Form::kBlocks;                                   // that one load brings
    if (a.passes == 1 && conv.inputs[1].channels > 0) blocks = i == 0 ? second_block : blocks - second_block;
    a.inputs[i] = tensor_map<5>(
        input.dtype, static_cast<const char*>(input.values) + (input.ring > 0 ? 0 : a.lowest * plane),
        {8, D, W, input.channels / 8, input.ring > 0 ? input.ring : needed}, {pixel, D * pixel, 16, plane},
        {8, Form::kPitch, kRows + 2, blocks, 1}, CU_TENSOR_MAP_SWIZZLE_NONE);
    a.norms[i] = input.norm;
    a.blocks[i] = int(input.channels / 8);
    a.rings[i] = int(input.ring);
  }
  a.second_block = conv.inputs[1].channels > 0 ? int(second_block) : a.passes * Form::kBlocks;
  const int64_t outputs = pad16(conv.out);
  a.weights = tensor_map<3>(conv.inputs[0].dtype, conv.weights, {channels, outputs, 27},
                            {2 * channels, 2 * channels * outputs}, {16 * Form::kSteps, kOutputs, 1},
                            Form::kSteps == 4 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B);
  a.height = int(H);
  a.width = int(W);
  a.depth = int(D);
  a.out = int(conv.out);
  a.first = int(conv.first);
  a.last = int(conv.last);
  a.columns_along_d = int(divide_up(D, Form::kDepth));
  a.columns = int(conv3d_wgmma_slots(conv));
  a.pairs = int(divide_up(conv.last - conv.first, 2));
  const int64_t items = divide_up(conv.out, kOutputs) * a.columns * a.pairs;
  SAT_CHECK(items < (int64_t(1) << 31), "conv3d_wgmma: ", items, " pairs of planes of columns");
  a.items = int(items);
  a.in_f32 = conv.dtype == DType::f32;
  a.values = conv.values;
  a.slots = conv.slots;
  const unsigned blocks = unsigned(std::min<int64_t>(items, queue.limits.processors));
  launch(queue, {"conv3d_wgmma", blocks, kThreads, shared_bytes<Form>(a.passes)}, conv3d_wgmma_kernel<T, Form>, a);
}

}  // namespace

std::string conv3d_wgmma_refusal(const Conv& conv, const DeviceLimits& limits) {
  const DType dtype = conv.inputs[0].dtype;
  if (limits.arch / 10 != 9) return "needs a device of sm_90, this one is sm_" + std::to_string(limits.arch);
  if (dtype != DType::f16 && dtype != DType::bf16)
    return std::string("needs f16 or bf16 inputs, not ") + name_of(dtype);
  if (conv.inputs[1].channels > 0 && conv.inputs[1].dtype != dtype) return "needs inputs of one type";
  if (conv.dtype != dtype && conv.dtype != DType::f32) return "stores the inputs' type or f32";
  if (conv.stride != 1) return "needs stride 1, not " + std::to_string(conv.stride);
  for (int64_t channels : {conv.inputs[0].channels, conv.inputs[1].channels, conv.out}) {
    if (channels % 8 != 0) return "needs channels in multiples of 8, not " + std::to_string(channels);
  }
  const auto [bytes, together] = with_form(conv, [&](auto form) {
    using Form = decltype(form);
    const int64_t together = 8 * Form::kBlocks;
    return std::pair(shared_bytes<Form>(divide_up(padded_channels(conv), together)), together);
  });
  if (padded_channels(conv) > together && conv.inputs[1].channels > 0 && conv.inputs[0].channels % together != 0) {
    return "takes " + std::to_string(together) + " channels in a pass, the first input has " +
           std::to_string(conv.inputs[0].channels);
  }
  if (bytes > limits.shared_bytes) {
    return "needs " + std::to_string(bytes) + " bytes of shared memory, there are " +
           std::to_string(limits.shared_bytes);
  }
  return "";
}

int64_t conv3d_wgmma_slots(const Conv& conv) {
  const int64_t depth = with_form(conv, [](auto form) { return int64_t(decltype(form)::kDepth); });
  return divide_up(conv.out_size[1], kRows) * divide_up(conv.out_size[2], depth);
}

void conv3d_wgmma(const Queue& queue, const Conv& conv) {
  if (queue.dry || conv.first >= conv.last) return;
  with_form(conv, [&](auto form) {
    if (conv.inputs[0].dtype == DType::f16) return march<__half, decltype(form)>(queue, conv);
    return march<__nv_bfloat16, decltype(form)>(queue, conv);
  });
}

}  // namespace sat::cuda
