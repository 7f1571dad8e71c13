// Private: what a block of conv3d_mma does with its sums: values, their statistics, or partial sums.
#pragma once

#include "sat/cuda/conv3d/conv3d_mma_block.cuh"

namespace sat::cuda {

/// The voxel of the output that row `row` of an item is, in row-major order from `first_plane` on; -1: none.
template <class S>
__device__ inline int64_t out_voxel(const MmaWork& work, const MmaItem& item, uint32_t row, int first_plane) {
  uint32_t h = 0, w = row / 16, d = row % 16;
  if (!S::kRows) {
    const uint32_t area = uint32_t(work.plan.tile_w * work.plan.tile_d);
    h = work.by_tile_area(row);
    w = work.by_tile_d(row - h * area);
    d = row - h * area - w * uint32_t(work.plan.tile_d);
  }
  const int out_h = work.first + item.group * work.plan.tile_h + int(h);
  const int out_w = item.w + int(w), out_d = item.d + int(d);
  if (int(h) >= work.plan.tile_h || out_h >= work.last || out_w >= work.out_w || out_d >= work.out_d) return -1;
  return (int64_t(out_h - first_plane) * work.out_w + out_w) * work.out_d + out_d;
}

/// Row of an item, of a lane's sums 2 * half and 2 * half + 1 in row tile `tile`.
template <class S>
__device__ inline uint32_t row_of(int tile, int half) {
  return threadIdx.x / 64 * (S::kRowTiles * 16) + uint32_t(tile * 16 + half * 8) + threadIdx.x % 32 / 4;
}

/// First output channel of the block's that the warp has.
template <class S>
__device__ inline int warp_out() {
  return int(threadIdx.x / 32 % 2) * (S::kOut / 2);
}

/// f32 sums as they are: four lanes write 32 bytes.
template <class S>
__device__ inline void store_f32(const MmaWork& work, const MmaItem& item, const MmaProducts<S>& products, float* to,
                                 int first_plane) {
  const int out = item.first_out + warp_out<S>() + int(threadIdx.x % 4) * 2;
#pragma unroll
  for (int tile = 0; tile < S::kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t voxel = out_voxel<S>(work, item, row_of<S>(tile, half), first_plane);
      if (voxel < 0) continue;
#pragma unroll
      for (int column = 0; column < S::kColumnTiles; ++column) {
        if (out + column * 8 >= work.out) continue;
        const float* sums = products.sums[tile][column] + half * 2;
        *reinterpret_cast<float2*>(to + voxel * work.out + out + column * 8) = make_float2(sums[0], sums[1]);
      }
    }
  }
}

template <class S>
__device__ inline void store_partial(const MmaWork& work, const MmaItem& item, const MmaProducts<S>& products) {
  const int64_t a_split = int64_t(work.last - work.first) * work.out_w * work.out_d * work.out;
  store_f32<S>(work, item, products, work.split_sums + item.split * a_split, work.first);
}

/// word[i] of lane j of four becomes word[j] of lane i: blocks of two words and two lanes change places, then words.
__device__ inline void transpose4(uint32_t (&word)[4]) {
  const bool upper = threadIdx.x & 2, odd = threadIdx.x & 1;
  const uint32_t a = __shfl_xor_sync(~0u, upper ? word[0] : word[2], 2);
  const uint32_t b = __shfl_xor_sync(~0u, upper ? word[1] : word[3], 2);
  word[0] = upper ? a : word[0];
  word[1] = upper ? b : word[1];
  word[2] = upper ? word[2] : a;
  word[3] = upper ? word[3] : b;
  const uint32_t c = __shfl_xor_sync(~0u, odd ? word[0] : word[1], 1);
  const uint32_t d = __shfl_xor_sync(~0u, odd ? word[2] : word[3], 1);
  word[0] = odd ? c : word[0];
  word[1] = odd ? word[1] : c;
  word[2] = odd ? d : word[2];
  word[3] = odd ? word[3] : d;
}

/// Rounded sums. Lanes exchange theirs until each has 8 channels of a voxel, so that four write 64 bytes.
template <class S, class Out>
__device__ inline void store_half(const MmaWork& work, const MmaItem& item, const MmaProducts<S>& products) {
  static_assert(sizeof(Out) == 2);
  Out* values = static_cast<Out*>(work.values);
  const int out = item.first_out + warp_out<S>() + int(threadIdx.x % 4) * 8;
#pragma unroll
  for (int tile = 0; tile < S::kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t voxel = out_voxel<S>(work, item, row_of<S>(tile, half), 0);
#pragma unroll
      for (int four = 0; four < S::kColumnTiles; four += 4) {
        uint32_t words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          words[i] =
              rounded_pair<Out>(products.sums[tile][four + i][half * 2], products.sums[tile][four + i][half * 2 + 1]);
        }
        transpose4(words);
        if (voxel >= 0 && out + four * 8 < work.out) {
          *reinterpret_cast<uint4*>(values + voxel * work.out + out + four * 8) =
              make_uint4(words[0], words[1], words[2], words[3]);
        }
      }
    }
  }
}

template <class S>
__device__ inline void store_values(const MmaWork& work, const MmaItem& item, const MmaProducts<S>& products) {
  if (work.dtype == DType::f32) {
    store_f32<S>(work, item, products, static_cast<float*>(work.values), 0);
  } else if (work.dtype == DType::f16) {
    store_half<S, __half>(work, item, products);
  } else {
    store_half<S, __nv_bfloat16>(work, item, products);
  }
}

/// values[i], added up over the 8 lanes that share lane % 4, in a fixed order: in each step lanes at a distance of
/// kLane halve what they hold. Returns which of the kCount values the last one or two, in values[0...], are from.
template <int kCount, int kWidth = kCount / 2, int kLane = 16>
__device__ inline int add_up_lanes(float (&values)[kCount]) {
  const bool upper = threadIdx.x & unsigned(kLane);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const float got = __shfl_xor_sync(~0u, upper ? values[i] : values[i + kWidth], kLane);
    values[i] = (upper ? values[i + kWidth] : values[i]) + got;
  }
  const int first = upper ? kWidth : 0;
  if constexpr (kLane > 4) {
    return first + add_up_lanes<kCount, kWidth / 2, kLane / 2>(values);
  } else {
    return first;
  }
}

/// The tile's partial: for each output channel the count, mean and M2 of the voxels inside the volume, mean and M2 in
/// two passes over the sums in registers.
template <class S>
__device__ inline void store_statistics(const MmaWork& work, const MmaItem& item, const MmaProducts<S>& products,
                                        MmaShared<S>& shared) {
  constexpr int kMine = S::kColumnTiles * 2;  // channels of a lane: 8 * column + lane % 4 * 2 + {0, 1}
  const int lane_out = warp_out<S>() + int(threadIdx.x % 4) * 2;
  const float count = float(min(work.plan.tile_w, work.out_w - item.w) * min(work.plan.tile_d, work.out_d - item.d));
  uint32_t inside = 0;
#pragma unroll
  for (int i = 0; i < S::kRowTiles * 2; ++i) {
    inside |= uint32_t(out_voxel<S>(work, item, row_of<S>(i / 2, i % 2), 0) >= 0) << i;
  }
  float mean[kMine] = {};
  float sum = 0, m2 = 0;  // of channel threadIdx.x
#pragma unroll
  for (int pass = 0; pass < 2; ++pass) {
    float parts[kMine] = {};
#pragma unroll
    for (int i = 0; i < S::kRowTiles * 2; ++i) {
      if ((inside >> i & 1) == 0) continue;
#pragma unroll
      for (int mine = 0; mine < kMine; ++mine) {
        const float apart = products.sums[i / 2][mine / 2][i % 2 * 2 + mine % 2] - mean[mine];
        parts[mine] += pass == 0 ? apart : apart * apart;
      }
    }
    const int first = add_up_lanes(parts);
    __syncthreads();  // the pass before has been read
#pragma unroll
    for (int i = 0; i < kMine / 8; ++i) {
      shared.sums[threadIdx.x / 64][lane_out + (first + i) / 2 * 8 + (first + i) % 2] = parts[i];
    }
    __syncthreads();
    const auto total = [&](int out) {
      return shared.sums[0][out] + shared.sums[1][out] + shared.sums[2][out] + shared.sums[3][out];
    };
    if (threadIdx.x < S::kOut) (pass == 0 ? sum : m2) = total(int(threadIdx.x));
    if (pass > 0) continue;
#pragma unroll
    for (int mine = 0; mine < kMine; ++mine) mean[mine] = total(lane_out + mine / 2 * 8 + mine % 2) / count;
  }
  const int out = item.first_out + int(threadIdx.x);
  if (threadIdx.x >= S::kOut || out >= work.out) return;
  const int64_t column = int64_t(item.w / work.plan.tile_w) * work.plan.columns_d + item.d / work.plan.tile_d;
  const int64_t columns = int64_t(work.plan.columns_w) * work.plan.columns_d;
  PartialMoments* partials = work.partials + (work.first + item.group) * work.partials_a_plane * work.out + out;
  partials[column * work.out] = {count, sum / count, m2};
  for (int64_t i = column + columns; i < work.partials_a_plane; i += columns) partials[i * work.out] = {0, 0, 0};
}

}  // namespace sat::cuda
