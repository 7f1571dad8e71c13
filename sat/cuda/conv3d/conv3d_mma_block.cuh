// Private: the steps of a block of conv3d_mma: loads of input voxels and of weights, the norm in place, products.
#pragma once

#include <type_traits>

#include "sat/cuda/conv3d/conv3d_mma.cuh"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/tensor_core.cuh"

namespace sat::cuda {

/// The sizes that a form of the kernel is compiled for.
template <class T, int kChunk_, int kVoxels_, int kOut_, int kStride_, bool kRows_>
struct MmaSizes {
  using Element = T;
  static constexpr int kChunk = kChunk_, kVoxels = kVoxels_, kOut = kOut_, kStride = kStride_;
  static constexpr bool kRows = kRows_;           // a tile is 16 x 16 pixels of one plane
  static constexpr int kPieces = kChunk / 8;      // of 16 bytes, a voxel
  static constexpr int kSub = 2048 / kOut;        // input channels of a stage of weights
  static constexpr int kSubPieces = kSub / 8;     // a row of weights
  static constexpr int kRowTiles = kVoxels / 64;  // 16-row tiles of a warp: 4 x 2 warps
  static constexpr int kColumnTiles = kOut / 16;  // 8-column tiles of a warp
};

/// Two numbers as rounded() rounds them, in the order of memory.
template <class T>
__device__ inline uint32_t rounded_pair(float first, float second) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 largest = __float2half2_rn(kLargestF16);
    const __half2 pair = __hmin2(__hmax2(__floats2half2_rn(first, second), __hneg2(largest)), largest);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
}

/// A box of input voxels on its way into a slot.
struct MmaLoad {
  int plane, w, d;     // the first voxel, which may lie outside
  int held;            // where the input holds the first plane
  int input, channel;  // first of the chunk
  int pieces;          // that the input has in it
};

/// Shared memory of a block; the slots of its loads lie behind it.
template <class S>
struct alignas(128) MmaShared {
  unsigned char stages[kMmaStages][kMmaStageBytes];
  /// center, factor, shift of a slot's channels: channel c % 4 of piece c / 8, first the lower halves of all pieces, so
  /// that the lanes of eight pieces read 128 bytes in a row.
  float norms[kMmaSlots][3][S::kChunk];
  float sums[4][S::kOut];
  MmaLoad loads[kMmaSlots];

  __device__ unsigned char* slot(const MmaWork& work, int index) {
    const int bytes = S::kRows ? kMmaSide * kMmaSide * S::kChunk * 2 : work.plan.slot_bytes;
    return reinterpret_cast<unsigned char*>(this + 1) + index % kMmaSlots * bytes;
  }
};

/// The item that a number means.
struct MmaItem {
  int group, split, first_out, w, d;  // w, d: its first output voxel
  int first_chunk, last_chunk;
};

__device__ inline MmaItem item_at(const MmaWork& work, int number) {
  MmaItem item;
  item.group = number % work.groups;
  number /= work.groups;
  item.split = number % work.plan.splits;
  number /= work.plan.splits;
  item.first_out = number % work.plan.blocks_out * work.plan.block_out;
  number /= work.plan.blocks_out;
  item.w = number / work.plan.columns_d * work.plan.tile_w;
  item.d = number % work.plan.columns_d * work.plan.tile_d;
  item.first_chunk = item.split * work.plan.chunks / work.plan.splits;
  item.last_chunk = (item.split + 1) * work.plan.chunks / work.plan.splits;
  return item;
}

/// Padded channels of a chunk.
template <class S>
__device__ inline int channels_of(const MmaWork& work, int chunk) {
  const bool second = chunk >= work.plan.first_chunks;
  const int before = (second ? chunk - work.plan.first_chunks : chunk) * S::kChunk;
  return min(S::kChunk, (int(work.inputs[second].channels) + 15) / 16 * 16 - before);
}

/// The weights' way through a run of items: stages of three taps along W, [3][kOut][kSub], in the order of the
/// products: item, chunk, plane of taps, tap along D, part of the chunk.
template <class S>
struct MmaWeights {
  const typename S::Element* row;  // of this thread's output channel
  int number, stop;                // items
  int chunk, last_chunk, tap, depth, part, parts;
  int channel;  // of the weights' rows: the chunk's first
  int left;     // channels of the chunk
  bool there;   // whether there is such an output channel

  __device__ MmaWeights(const MmaWork& work, int first_item, int stop_item) : number(first_item), stop(stop_item) {
    if (number < stop) enter_item(work);
  }

  __device__ void enter_item(const MmaWork& work) {
    const MmaItem item = item_at(work, number);
    const int out = item.first_out + int(threadIdx.x) / S::kSubPieces;
    there = out < work.out_padded;
    row = static_cast<const typename S::Element*>(work.weights) + (there ? out : 0) * work.in_channels;
    last_chunk = item.last_chunk;
    enter_chunk(work, item.first_chunk);
  }

  __device__ void enter_chunk(const MmaWork& work, int which) {
    chunk = which;
    const bool second = chunk >= work.plan.first_chunks;
    channel = second ? (int(work.inputs[0].channels) + 15) / 16 * 16 + (chunk - work.plan.first_chunks) * S::kChunk
                     : chunk * S::kChunk;
    left = channels_of<S>(work, chunk);
    parts = (left + S::kSub - 1) / S::kSub;
    tap = depth = part = 0;
  }

  __device__ void copy_next(const MmaWork& work, uint32_t stage) {
    if (number >= stop) return;
    const int out = int(threadIdx.x) / S::kSubPieces, piece = int(threadIdx.x) % S::kSubPieces;
    const int within = part * S::kSub + piece * 8;
    const bool valid = there && within < left;
    const int64_t a_tap = int64_t(work.out_padded) * work.in_channels;
    const typename S::Element* from = row + (valid ? (tap + depth) * a_tap + channel + within : 0);
    const uint32_t to = stage + swizzled<S::kSubPieces>(uint32_t(out), uint32_t(piece));
#pragma unroll
    for (int w = 0; w < 3; ++w) copy_async16(to + uint32_t(w) * 4096, valid ? from + 3 * w * a_tap : from, valid);
    if (++part < parts) return;
    part = 0;
    if (++depth < 3) return;
    depth = 0;
    if ((tap += 9) < 27) return;
    if (chunk + 1 < last_chunk) return enter_chunk(work, chunk + 1);
    if (++number < stop) enter_item(work);
  }
};

/// The loads of a run of items. Piece p of a load is thread p % 256's, from its copy to its norm, so that only this
/// thread has to wait in between.
template <class S>
struct MmaLoads {
  using T = typename S::Element;
  const MmaWork& work;
  MmaShared<S>& shared;
  int first_item;
  bool marches;  // one load a plane of a column, which serves up to three output planes
  int pieces;    // of a load
  int rounds;    // pieces of a thread

  __device__ MmaLoads(const MmaWork& w, MmaShared<S>& s, int item, bool marching)
      : work(w), shared(s), first_item(item), marches(marching) {
    pieces = S::kPieces * (S::kRows ? kMmaSide * kMmaSide : w.plan.box_h * w.plan.box_w * w.plan.box_d);
    rounds = (pieces + kMmaThreads - 1) / kMmaThreads;
  }

  /// Writes down what a load is; others see it behind a barrier.
  __device__ void describe(int index) const {
    int number = first_item, chunk = 0, plane_tap = index;
    if (!marches) {
      const int taps = work.plan.partial ? 1 : 3, an_item = work.plan.chunks / work.plan.splits * taps;
      number += index / an_item;
      chunk = index % an_item / taps;
      plane_tap = index % taps;
    }
    const MmaItem item = item_at(work, number);
    chunk += item.first_chunk;
    MmaLoad& load = shared.loads[index % kMmaSlots];
    load.input = chunk >= work.plan.first_chunks;
    load.channel = (load.input ? chunk - work.plan.first_chunks : chunk) * S::kChunk;
    load.pieces = min(S::kPieces, (int(work.inputs[load.input].channels) - load.channel) / 8);
    load.plane = (work.first + item.group * work.plan.tile_h) * S::kStride - 1 + plane_tap;
    const int ring = int(work.inputs[load.input].ring);
    load.held = ring > 0 ? (load.plane + ring) % ring : load.plane;
    load.w = item.w * S::kStride - 1;
    load.d = item.d * S::kStride - 1;
  }

  /// Where voxel `voxel` of a load lies in a plane's row-major order of the input, from plane 0 on; -1 outside.
  __device__ int64_t voxel_at(const MmaLoad& load, uint32_t voxel) const {
    int h = load.plane, held = load.held, w = load.w, d = load.d;
    if (S::kRows) {
      w += int(voxel / kMmaSide);
      d += int(voxel % kMmaSide);
    } else {
      const uint32_t row = work.by_box_d(voxel), column = voxel - row * uint32_t(work.plan.box_d);
      const uint32_t plane = work.by_box_w(row);
      h += int(plane);
      held += int(plane);
      w += int(row - plane * uint32_t(work.plan.box_w));
      if (S::kStride == 1) {
        d += int(column);
      } else {
        const int half = work.plan.box_d / 2, odd = int(column) >= half;
        d += 2 * (int(column) - odd * half) + odd;
      }
    }
    const bool inside = h >= work.in_first && h < work.in_last && unsigned(w) < unsigned(work.in_w) &&
                        unsigned(d) < unsigned(work.in_d);
    const int ring = int(work.inputs[load.input].ring);
    if (!S::kRows && ring > 0 && held >= ring) held -= ring;  // a ring has room for all planes inside
    return inside ? (int64_t(held) * work.in_w + w) * work.in_d + d : -1;
  }

  /// Copies pieces [from, to) of this thread.
  __device__ void copy(int index, int from, int to) const {
    const MmaLoad load = shared.loads[index % kMmaSlots];
    const ConvInput& input = work.inputs[load.input];
    const uint32_t slot = shared_address(shared.slot(work, index));
    const uint32_t piece = threadIdx.x % S::kPieces;
    const T* values = static_cast<const T*>(input.values);
    const T* first = values + load.channel + int(piece) * 8;
    for (int round = from; round < to; ++round) {
      const uint32_t at = uint32_t(round) * kMmaThreads + threadIdx.x, voxel = at / S::kPieces;
      if (at >= uint32_t(pieces)) return;
      const int64_t place = int(piece) < load.pieces ? voxel_at(load, voxel) : -1;
      copy_async16(slot + swizzled<S::kPieces>(voxel, piece), place >= 0 ? first + place * input.channels : values,
                   place >= 0);
    }
  }

  /// Copies the norm of a load's channels. Those that no voxel has are not touched.
  __device__ void copy_norm(int index) const {
    const MmaLoad& load = shared.loads[index % kMmaSlots];
    const PendingNorm& norm = work.inputs[load.input].norm;
    const int channel = load.channel + int(threadIdx.x);
    if (norm.center == nullptr || int(threadIdx.x) >= load.pieces * 8) return;
    const int place = int(threadIdx.x) / 4 % 2 * (S::kChunk / 2) + int(threadIdx.x) / 8 * 4 + int(threadIdx.x) % 4;
    float(&to)[3][S::kChunk] = shared.norms[index % kMmaSlots];
    copy_async4(shared_address(&to[0][place]), norm.center + channel);
    copy_async4(shared_address(&to[1][place]), norm.factor + channel);
    copy_async4(shared_address(&to[2][place]), norm.shift + channel);
  }

  /// Takes the norm of pieces [from, to) of this thread in place, in f32; zeros outside the volume stay.
  __device__ void finish(int index, int from, int to) const {
    const MmaLoad load = shared.loads[index % kMmaSlots];
    const PendingNorm& norm = work.inputs[load.input].norm;
    const uint32_t piece = threadIdx.x % S::kPieces;
    if (norm.center == nullptr || int(piece) >= load.pieces) return;
    const float(&rows)[3][S::kChunk] = shared.norms[index % kMmaSlots];
    float4 center[2], factor[2], shift[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t place = uint32_t(half) * (S::kChunk / 2) + piece * 4;
      center[half] = *reinterpret_cast<const float4*>(&rows[0][place]);
      factor[half] = *reinterpret_cast<const float4*>(&rows[1][place]);
      shift[half] = *reinterpret_cast<const float4*>(&rows[2][place]);
    }
    unsigned char* slot = shared.slot(work, index);
    for (int round = from; round < to; ++round) {
      const uint32_t at = uint32_t(round) * kMmaThreads + threadIdx.x, voxel = at / S::kPieces;
      if (at >= uint32_t(pieces)) return;
      if (voxel_at(load, voxel) < 0) continue;
      uint4& bytes = *reinterpret_cast<uint4*>(slot + swizzled<S::kPieces>(voxel, piece));
      float x[8];
      load_run<T, 8>(x, reinterpret_cast<const T*>(&bytes));
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        x[half * 4] = normalised(x[half * 4], center[half].x, factor[half].x, shift[half].x, norm.slope);
        x[half * 4 + 1] = normalised(x[half * 4 + 1], center[half].y, factor[half].y, shift[half].y, norm.slope);
        x[half * 4 + 2] = normalised(x[half * 4 + 2], center[half].z, factor[half].z, shift[half].z, norm.slope);
        x[half * 4 + 3] = normalised(x[half * 4 + 3], center[half].w, factor[half].w, shift[half].w, norm.slope);
      }
      bytes = make_uint4(rounded_pair<T>(x[0], x[1]), rounded_pair<T>(x[2], x[3]), rounded_pair<T>(x[4], x[5]),
                         rounded_pair<T>(x[6], x[7]));
    }
  }
};

/// What the tap (box_plane, 0, depth) adds to a voxel of a box.
template <class S>
__device__ inline uint32_t tap_shift(const MmaWork& work, int box_plane, int depth) {
  if (S::kRows) return uint32_t(depth);
  const int along_d = S::kStride == 1 || depth == 0 ? depth : depth == 1 ? work.plan.box_d / 2 : 1;
  return uint32_t(box_plane * work.plan.box_w * work.plan.box_d + along_d);
}

/// The products of a warp: kRowTiles x kColumnTiles tiles of 16 voxels x 8 output channels. Lanes hold as many sums.
template <class S>
struct MmaProducts {
  using T = typename S::Element;
  float sums[S::kRowTiles][S::kColumnTiles][4];
  uint32_t voxels[S::kRows ? 1 : S::kRowTiles];  // in a box, tap (0, 0, 0) of the row that this lane loads
  uint32_t weight;                               // byte of a stage that this lane loads first

  __device__ explicit MmaProducts(const MmaWork& work) {
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t row = warp / 2 * (S::kRowTiles * 16) + lane % 16;
    if (S::kRows) {
      voxels[0] = row / 16 * kMmaSide + lane % 16;
    } else {
#pragma unroll
      for (int tile = 0; tile < S::kRowTiles; ++tile) {
        const uint32_t area = uint32_t(work.plan.tile_w * work.plan.tile_d), at = row + uint32_t(tile) * 16;
        const uint32_t voxel = at < area * uint32_t(work.plan.tile_h) ? at : 0;  // rows beyond the tile count nowhere
        const uint32_t h = work.by_tile_area(voxel), w = work.by_tile_d(voxel - h * area);
        const uint32_t d = voxel - h * area - w * uint32_t(work.plan.tile_d);
        voxels[tile] = (h * S::kStride * uint32_t(work.plan.box_w) + w * S::kStride) * uint32_t(work.plan.box_d) + d;
      }
    }
    const uint32_t out = warp % 2 * (S::kOut / 2) + lane % 8 + lane / 16 * 8;
    weight = swizzled<S::kSubPieces>(out, lane / 8 % 2);
  }

  __device__ void clear() {
#pragma unroll
    for (auto& row : sums) {
#pragma unroll
      for (auto& tile : row) tile[0] = tile[1] = tile[2] = tile[3] = 0;
    }
  }

  /// Adds a stage: three taps along W, part `part` of a load's channels. `tap`: what the other taps add to a voxel.
  __device__ void add(const MmaWork& work, uint32_t slot, uint32_t tap, int part, uint32_t stage) {
    const uint32_t half = threadIdx.x / 16 % 2;
    constexpr int kFragments = S::kRows ? S::kRowTiles + 2 : S::kRowTiles;
    uint32_t rows[kFragments];
    if (S::kRows) {  // a tile of the next tap is the next tile of this one
#pragma unroll
      for (int row = 0; row < kFragments; ++row) {
        rows[row] = slot + swizzled<S::kPieces>(voxels[0] + tap + uint32_t(row) * kMmaSide, half);
      }
    }
#pragma unroll
    for (int k = 0; k < S::kSub / 16; ++k) {
      const uint32_t channels = uint32_t(part * (S::kSub / 16) + k) * 32;
      uint32_t a[kFragments][4];
      if (S::kRows) {
#pragma unroll
        for (int row = 0; row < kFragments; ++row) load_matrices(a[row], rows[row] ^ channels);
      }
#pragma unroll
      for (int w = 0; w < 3; ++w) {
        if (!S::kRows) {
          const uint32_t shift = tap + uint32_t(w * work.plan.box_d);
#pragma unroll
          for (int row = 0; row < kFragments; ++row) {
            load_matrices(a[row], (slot + swizzled<S::kPieces>(voxels[S::kRows ? 0 : row] + shift, half)) ^ channels);
          }
        }
        uint32_t b[S::kColumnTiles / 2][4];
#pragma unroll
        for (int column = 0; column < S::kColumnTiles / 2; ++column) {
          load_matrices(b[column],
                        stage + uint32_t(w * 4096 + column * 16 * S::kSub * 2) + (weight ^ uint32_t(k * 32)));
        }
#pragma unroll
        for (int row = 0; row < S::kRowTiles; ++row) {
#pragma unroll
          for (int column = 0; column < S::kColumnTiles; ++column) {
            multiply_add<T>(sums[row][column], a[S::kRows ? row + w : row], b[column / 2][column % 2 * 2],
                            b[column / 2][column % 2 * 2 + 1]);
          }
        }
      }
    }
  }
};

}  // namespace sat::cuda
