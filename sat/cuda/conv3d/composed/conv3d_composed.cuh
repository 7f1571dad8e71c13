// Private: the steps of a block of conv3d_composed: loads of skip and low voxels, their norm, weights, products.
#pragma once

#include "sat/cuda/conv3d/composed/conv3d_composed.h"
#include "sat/cuda/conv3d/conv3d_mma_block.cuh"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/tensor_core.cuh"

namespace sat::cuda {

constexpr int kComposedThreads = 256;
constexpr int kComposedTile = 16;                             // output voxels along W and D
constexpr int kComposedOut = 64;                              // output channels of a block
constexpr int kComposedChunk = 32;                            // input channels of a load
constexpr int kSkipSide = kComposedTile + 2;                  // of a load with its halo
constexpr int kLowSide = kComposedTile / 2 + 2;               //
constexpr int kSkipStages = 3, kLowStages = 4;                // of weights, a load
constexpr int kTapBytes = kComposedOut * kComposedChunk * 2;  // [64][32] weights
constexpr int kBoxBytes = kSkipSide * kSkipSide * kComposedChunk * 2;

/// One launch.
struct ComposedWork {
  ConvInput low, skip;
  const void *weights_low, *weights_skip;
  const float* bias;
  void* values;
  PartialMoments* partials;
  int64_t skip_pitch, low_pitch;  // elements of a row of weights
  int low_h, low_w, low_d;
  int out, out_padded;
  int first, planes;
  int columns, columns_d;     // tiles of a plane, along D
  int skip_loads, all_loads;  // three planes a chunk of skip, then two a chunk of low
  DType dtype;
};

/// Shared memory: what is multiplied and what arrives.
struct alignas(128) ComposedShared {
  unsigned char boxes[2][kBoxBytes];
  unsigned char stages[2][4 * kTapBytes];  // skip: three taps along W; low: a tap of each class
  float sums[4][kComposedOut];
};

/// Where voxel (w, d) of a box lies. Of the skip's box a class reads every second voxel along D: even ones lie before
/// odd ones, so that eight of them are neighbours, which swizzled() puts in different banks.
template <int kSide>
__device__ inline uint32_t place_in_box(uint32_t w, uint32_t d) {
  return w * kSide + (kSide == kSkipSide ? d % 2 * (kSide / 2) + d / 2 : d);
}

/// A box of one plane of one input.
struct ComposedBox {
  const ConvInput* input;
  int64_t plane;  // element at which it begins
  bool inside;    // the volume has this plane
  int w, d;       // first voxel, which may lie outside
  int size_w, size_d;
  int channel;

  __device__ bool has(int row, int column) const {
    return inside && unsigned(w + row) < unsigned(size_w) && unsigned(d + column) < unsigned(size_d);
  }
};

/// A load's channels in pieces of 16 bytes, four a voxel; zeros outside the volume and beyond the channels.
template <class T, int kSide>
__device__ inline void copy_box(uint32_t to, const ComposedBox& box) {
  const uint32_t piece = threadIdx.x % 4;
  const int channel = box.channel + int(piece) * 8;
  const T* values = static_cast<const T*>(box.input->values);
  const bool has_channels = channel < int(box.input->channels);
#pragma unroll 1
  for (uint32_t voxel = threadIdx.x / 4; voxel < kSide * kSide; voxel += kComposedThreads / 4) {
    const int row = int(voxel / kSide), column = int(voxel % kSide);
    const bool there = has_channels && box.has(row, column);
    const int64_t at = int64_t(box.w + row) * box.size_d + box.d + column;
    copy_async16(to + swizzled<4>(place_in_box<kSide>(uint32_t(row), uint32_t(column)), piece),
                 there ? values + box.plane + at * box.input->channels + channel : values, there);
  }
}

/// Takes the norm of what copy_box brought, in f32, four channels of a voxel a thread; zeros outside stay.
template <class T, int kSide>
__device__ inline void finish_box(unsigned char* bytes, const ComposedBox& box) {
  const PendingNorm& norm = box.input->norm;
  const uint32_t four = threadIdx.x % 8;
  const int channel = box.channel + int(four) * 4;
  if (norm.center == nullptr || channel >= int(box.input->channels)) return;
  const float4 center = *reinterpret_cast<const float4*>(norm.center + channel);
  const float4 factor = *reinterpret_cast<const float4*>(norm.factor + channel);
  const float4 shift = *reinterpret_cast<const float4*>(norm.shift + channel);
#pragma unroll 1
  for (uint32_t voxel = threadIdx.x / 8; voxel < kSide * kSide; voxel += kComposedThreads / 8) {
    const int row = int(voxel / kSide), column = int(voxel % kSide);
    if (!box.has(row, column)) continue;
    const uint32_t at = swizzled<4>(place_in_box<kSide>(uint32_t(row), uint32_t(column)), four / 2) + four % 2 * 8;
    uint2& word = *reinterpret_cast<uint2*>(bytes + at);
    float x[4];
    load_run<T, 4>(x, reinterpret_cast<const T*>(&word));
    word = make_uint2(rounded_pair<T>(normalised(x[0], center.x, factor.x, shift.x, norm.slope),
                                      normalised(x[1], center.y, factor.y, shift.y, norm.slope)),
                      rounded_pair<T>(normalised(x[2], center.z, factor.z, shift.z, norm.slope),
                                      normalised(x[3], center.w, factor.w, shift.w, norm.slope)));
  }
}

/// A block's tile: output voxels (w ..., d ...) of plane h, channels from first_out on.
template <class T>
struct ComposedTile {
  const ComposedWork& work;
  int h, w, d, first_out, column;

  __device__ explicit ComposedTile(const ComposedWork& what) : work(what) {
    const int number = int(blockIdx.x);
    column = number / work.planes;
    h = work.first + number % work.planes;
    w = column / work.columns_d * kComposedTile;
    d = column % work.columns_d * kComposedTile;
    first_out = int(blockIdx.y) * kComposedOut;
  }

  __device__ bool is_skip(int load) const { return load < work.skip_loads; }
  __device__ int stages(int load) const { return is_skip(load) ? kSkipStages : kLowStages; }
  /// First channel of a load.
  __device__ int channel(int load) const {
    return (is_skip(load) ? load / 3 : (load - work.skip_loads) / 2) * kComposedChunk;
  }
  /// Which of the planes that a chunk is loaded of.
  __device__ int plane_tap(int load) const { return is_skip(load) ? load % 3 : (load - work.skip_loads) % 2; }
  /// Padded channels of a load.
  __device__ int channels(int load) const {
    const int all = (int(is_skip(load) ? work.skip.channels : work.low.channels) + 15) / 16 * 16;
    return min(kComposedChunk, all - channel(load));
  }

  __device__ ComposedBox box(int load) const {
    const bool skip = is_skip(load);
    const int scale = skip ? 2 : 1;
    const int plane = (skip ? h : h / 2 + h % 2) - 1 + plane_tap(load);
    ComposedBox box;
    box.input = skip ? &work.skip : &work.low;
    box.inside = plane >= 0 && plane < scale * work.low_h;
    box.size_w = scale * work.low_w;
    box.size_d = scale * work.low_d;
    box.plane = plane_offset(plane, box.input->ring, int64_t(box.size_w) * box.size_d * box.input->channels);
    box.w = (skip ? w : w / 2) - 1;
    box.d = (skip ? d : d / 2) - 1;
    box.channel = channel(load);
    return box;
  }

  __device__ void copy(ComposedShared& shared, int load) const {
    const uint32_t to = shared_address(shared.boxes[load % 2]);
    if (is_skip(load)) {
      copy_box<T, kSkipSide>(to, box(load));
    } else {
      copy_box<T, kLowSide>(to, box(load));
    }
  }

  __device__ void finish(ComposedShared& shared, int load) const {
    unsigned char* bytes = shared.boxes[load % 2];
    if (is_skip(load)) {
      finish_box<T, kSkipSide>(bytes, box(load));
    } else {
      finish_box<T, kLowSide>(bytes, box(load));
    }
  }

  /// Weights of stage `stage` of a load: skip: taps (., 0 ... 2, stage); low: tap (., stage / 2, stage % 2) of the four
  /// classes.
  __device__ void copy_weights(uint32_t to, int load, int stage) const {
    const uint32_t row = threadIdx.x / 4, piece = threadIdx.x % 4;
    const int out = first_out + int(row), within = int(piece) * 8;
    const bool there = out < work.out_padded && within < channels(load);
    const bool skip = is_skip(load);
    const int64_t pitch = skip ? work.skip_pitch : work.low_pitch, a_tap = work.out_padded * pitch;
    const T* weights = static_cast<const T*>(skip ? work.weights_skip : work.weights_low);
    const int first = skip ? plane_tap(load) * 9 + stage : h % 2 * 32 + plane_tap(load) * 4 + stage;
    const T* from = weights + first * a_tap + out * pitch + channel(load) + within;
    to += swizzled<4>(row, piece);
    for (int i = 0; i < (skip ? 3 : 4); ++i) {
      copy_async16(to + uint32_t(i * kTapBytes), there ? from + i * (skip ? 3 : 8) * a_tap : weights, there);
    }
  }
};

/// The products of a warp: the 8 x 8 voxels of its class as four tiles of 16, and 32 output channels. Warp v has class
/// v / 2 = 2b + c, and the channels' half v % 2.
template <class T>
struct ComposedProducts {
  float sums[4][4][4] = {};

  __device__ static int class_w() { return int(threadIdx.x / 128); }
  __device__ static int class_d() { return int(threadIdx.x / 64 % 2); }
  __device__ static int first_out() { return int(threadIdx.x / 32 % 2) * 32; }

  /// One tap of up to 32 channels. `voxel`: where the first row of this lane lies; `pitch`: from tile to tile.
  __device__ void add_tap(uint32_t box, uint32_t voxel, uint32_t pitch, uint32_t weights, int channels) {
    const uint32_t lane = threadIdx.x % 32;
    weights += swizzled<4>(uint32_t(first_out()) + lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int k = 0; k < kComposedChunk / 16; ++k) {
      if (k * 16 >= channels) return;
      uint32_t b[2][4];
      load_matrices(b[0], weights ^ uint32_t(k * 32));
      load_matrices(b[1], (weights + 1024) ^ uint32_t(k * 32));
#pragma unroll
      for (int tile = 0; tile < 4; ++tile) {
        uint32_t a[4];
        load_matrices(a, (box + swizzled<4>(voxel + uint32_t(tile) * pitch, lane / 16)) ^ uint32_t(k * 32));
#pragma unroll
        for (int column = 0; column < 4; ++column) {
          multiply_add<T>(sums[tile][column], a, b[column / 2][column % 2 * 2], b[column / 2][column % 2 * 2 + 1]);
        }
      }
    }
  }

  __device__ void add_stage(const ComposedTile<T>& tile, int load, int stage, uint32_t box, uint32_t weights) {
    const uint32_t b = uint32_t(class_w()), c = uint32_t(class_d()), i = threadIdx.x / 8 % 2, j = threadIdx.x % 8;
    const int channels = tile.channels(load);
    if (tile.is_skip(load)) {
      const uint32_t voxel = place_in_box<kSkipSide>(2 * i + b, 2 * j + c + uint32_t(stage));
#pragma unroll
      for (uint32_t tap = 0; tap < 3; ++tap) {
        add_tap(box, voxel + tap * kSkipSide, 4 * kSkipSide, weights + tap * kTapBytes, channels);
      }
    } else {
      const uint32_t row = i + b + uint32_t(stage / 2), column = j + c + uint32_t(stage % 2);
      add_tap(box, place_in_box<kLowSide>(row, column), 2 * kLowSide, weights + (2 * b + c) * kTapBytes, channels);
    }
  }
};

}  // namespace sat::cuda
