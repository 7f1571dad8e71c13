// The composed up-convolution on tensor cores of sm_80 and newer: mma.sync, ldmatrix and cp.async.
#include <string>

#include "sat/cuda/conv3d/composed/conv3d_composed.cuh"
#include "sat/cuda/conv3d/conv3d_mma_store.cuh"

namespace sat::cuda {

namespace {

/// What a lane's sums are of: row 8 * half + lane / 4 of tile `tile` is voxel (2 * tile + half, lane / 4) of its class.
template <class T>
__device__ int64_t composed_voxel(const ComposedTile<T>& tile, int row) {
  const int w = tile.w + 2 * row + ComposedProducts<T>::class_w();
  const int d = tile.d + 2 * int(threadIdx.x % 32 / 4) + ComposedProducts<T>::class_d();
  const ComposedWork& work = tile.work;
  if (w >= 2 * work.low_w || d >= 2 * work.low_d) return -1;
  return (int64_t(tile.h) * (2 * work.low_w) + w) * (2 * work.low_d) + d;
}

/// 0, 1, 2: the first voxel of an axis, an inner one, the last.
__device__ int border(int at, int size) { return at == 0 ? 0 : at == size - 1 ? 2 : 1; }

/// What the up-sampling's bias comes to, which is less at the faces of the volume.
template <class T>
__device__ void add_bias(const ComposedTile<T>& tile, ComposedProducts<T>& products) {
  const ComposedWork& work = tile.work;
  const int out = tile.first_out + products.first_out() + int(threadIdx.x % 4) * 2;
  const int d = border(tile.d + 2 * int(threadIdx.x % 32 / 4) + products.class_d(), 2 * work.low_d);
  const int plane = border(tile.h, 2 * work.low_h) * 9;
#pragma unroll
  for (int row = 0; row < 8; ++row) {
    if (composed_voxel(tile, row) < 0) continue;
    const int w = border(tile.w + 2 * row + products.class_w(), 2 * work.low_w);
    const float* bias = work.bias + int64_t(plane + w * 3 + d) * work.out + out;
#pragma unroll
    for (int column = 0; column < 4; ++column) {
      if (out + column * 8 >= work.out) continue;
      const float2 pair = *reinterpret_cast<const float2*>(bias + column * 8);
      products.sums[row / 2][column][row % 2 * 2] += pair.x;
      products.sums[row / 2][column][row % 2 * 2 + 1] += pair.y;
    }
  }
}

/// f32 sums: four lanes write 32 bytes.
template <class T>
__device__ void store_composed_f32(const ComposedTile<T>& tile, const ComposedProducts<T>& products) {
  const int out = tile.first_out + products.first_out() + int(threadIdx.x % 4) * 2;
#pragma unroll
  for (int row = 0; row < 8; ++row) {
    const int64_t voxel = composed_voxel(tile, row);
    if (voxel < 0) continue;
    float* to = static_cast<float*>(tile.work.values) + voxel * tile.work.out + out;
#pragma unroll
    for (int column = 0; column < 4; ++column) {
      if (out + column * 8 >= tile.work.out) continue;
      const float* sums = products.sums[row / 2][column] + row % 2 * 2;
      *reinterpret_cast<float2*>(to + column * 8) = make_float2(sums[0], sums[1]);
    }
  }
}

/// Rounded sums. Lanes exchange theirs until each has 8 channels of a voxel, so that four write 64 bytes.
template <class T, class Out>
__device__ void store_composed_half(const ComposedTile<T>& tile, const ComposedProducts<T>& products) {
  const int out = tile.first_out + products.first_out() + int(threadIdx.x % 4) * 8;
#pragma unroll
  for (int row = 0; row < 8; ++row) {
    const int64_t voxel = composed_voxel(tile, row);
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* sums = products.sums[row / 2][i] + row % 2 * 2;
      words[i] = rounded_pair<Out>(sums[0], sums[1]);
    }
    transpose4(words);
    if (voxel < 0 || out >= tile.work.out) continue;
    *reinterpret_cast<uint4*>(static_cast<Out*>(tile.work.values) + voxel * tile.work.out + out) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

template <class T>
__device__ void store_composed(const ComposedTile<T>& tile, const ComposedProducts<T>& products) {
  switch (tile.work.dtype) {
    case DType::f32: return store_composed_f32(tile, products);
    case DType::f16: return store_composed_half<T, __half>(tile, products);
    default: return store_composed_half<T, __nv_bfloat16>(tile, products);
  }
}

/// The tile's partial: mean and M2 of each output channel in two passes over the sums in registers.
template <class T>
__device__ void store_composed_statistics(const ComposedTile<T>& tile, const ComposedProducts<T>& products,
                                          ComposedShared& shared) {
  const ComposedWork& work = tile.work;
  const int lane_out = products.first_out() + int(threadIdx.x % 4) * 2;
  const float count = float(min(kComposedTile, 2 * work.low_w - tile.w) * min(kComposedTile, 2 * work.low_d - tile.d));
  float mean[8] = {};  // of channels 8 * column + lane % 4 * 2 + {0, 1}
  float sum = 0, m2 = 0;
#pragma unroll
  for (int pass = 0; pass < 2; ++pass) {
    float parts[8] = {};
#pragma unroll
    for (int row = 0; row < 8; ++row) {
      if (composed_voxel(tile, row) < 0) continue;
#pragma unroll
      for (int mine = 0; mine < 8; ++mine) {
        const float apart = products.sums[row / 2][mine / 2][row % 2 * 2 + mine % 2] - mean[mine];
        parts[mine] += pass == 0 ? apart : apart * apart;
      }
    }
    const int first = add_up_lanes(parts);
    __syncthreads();  // the pass before has been read
    shared.sums[threadIdx.x / 64][lane_out + first / 2 * 8 + first % 2] = parts[0];
    __syncthreads();
    const auto total = [&](int out) {
      return shared.sums[0][out] + shared.sums[1][out] + shared.sums[2][out] + shared.sums[3][out];
    };
    if (threadIdx.x < kComposedOut) (pass == 0 ? sum : m2) = total(int(threadIdx.x));
    if (pass > 0) continue;
#pragma unroll
    for (int mine = 0; mine < 8; ++mine) mean[mine] = total(lane_out + mine / 2 * 8 + mine % 2) / count;
  }
  const int out = tile.first_out + int(threadIdx.x);
  if (threadIdx.x >= kComposedOut || out >= work.out) return;
  work.partials[(int64_t(tile.h) * work.columns + tile.column) * work.out + out] = {count, sum / count, m2};
}

/// ComposedConv on f16 or bf16 inputs, sums in f32.
///   low [H, W, D, channels], skip [2H, 2W, 2D, channels], with pending norms or without; values [2H, 2W, 2D, out]
/// A block has 16 x 16 output voxels of one plane x 64 output channels. They fall into four classes by the parity of w
/// and d, 8 x 8 voxels each; a class is a pair of warps, 32 channels each. All classes read the skip's taps from one
/// box with a step of two voxels, and of the low volume one box with weights of their own.
/// Loads of one plane x 32 channels, and stages of three (skip) or four (low) taps' weights, arrive while the ones
/// before are multiplied; a load's norm is taken during the last stage before it. Two blocks share a multiprocessor, so
/// that one multiplies while the other waits. Zeros outside are multiplied as well.
/// Traffic of 64 + 64 -> 64, a tile of 256 voxels: skip 3 x 324 voxels, low 2 x 100 and 472 KiB of weights, most of it
/// from the second cache; one write. Products: 27 * skip + 8 * low a voxel and output channel.
template <class T>
__global__ __launch_bounds__(kComposedThreads,
                             2) void conv3d_composed_kernel(const __grid_constant__ ComposedWork work) {
  extern __shared__ __align__(128) unsigned char bytes[];
  ComposedShared& shared = *reinterpret_cast<ComposedShared*>(bytes);
  const ComposedTile<T> tile(work);
  ComposedProducts<T> products;
  tile.copy(shared, 0);
  tile.copy_weights(shared_address(shared.stages[0]), 0, 0);
  close_copies();
  wait_copies<0>();
  __syncthreads();
  tile.finish(shared, 0);
  int buffer = 0;  // of the weights
  for (int load = 0; load < work.all_loads; ++load) {
    const bool more = load + 1 < work.all_loads;
    const int stages = tile.stages(load);
    for (int stage = 0; stage < stages; ++stage, buffer ^= 1) {
      wait_copies<0>();
      __syncthreads();  // the stage and its load are there for all, those before are used up
      const uint32_t next = shared_address(shared.stages[buffer ^ 1]);
      if (stage + 1 < stages) {
        tile.copy_weights(next, load, stage + 1);
      } else if (more) {
        tile.copy_weights(next, load + 1, 0);
      }
      if (stage == 0 && more) tile.copy(shared, load + 1);
      close_copies();
      if (stage + 1 == stages && more) tile.finish(shared, load + 1);
      products.add_stage(tile, load, stage, shared_address(shared.boxes[load % 2]),
                         shared_address(shared.stages[buffer]));
    }
  }
  add_bias(tile, products);
  store_composed(tile, products);
  store_composed_statistics(tile, products, shared);
}

int64_t columns_d(const ComposedConv& conv) { return divide_up(2 * conv.low_size[2], kComposedTile); }

ComposedWork work_of(const ComposedConv& conv) {
  ComposedWork work{};
  work.low = conv.low;
  work.skip = conv.skip;
  work.weights_low = conv.weights_low;
  work.weights_skip = conv.weights_skip;
  work.bias = conv.bias;
  work.values = conv.values;
  work.partials = conv.partials;
  work.skip_pitch = conv.skip_pitch;
  work.low_pitch = pad16(conv.low.channels);
  work.low_h = int(conv.low_size[0]);
  work.low_w = int(conv.low_size[1]);
  work.low_d = int(conv.low_size[2]);
  work.out = int(conv.out);
  work.out_padded = int(pad16(conv.out));
  work.first = int(conv.first);
  work.planes = int(conv.last - conv.first);
  work.columns_d = int(columns_d(conv));
  work.columns = int(conv3d_composed_partials(conv));
  work.skip_loads = int(3 * divide_up(conv.skip.channels, kComposedChunk));
  work.all_loads = int(work.skip_loads + 2 * divide_up(conv.low.channels, kComposedChunk));
  work.dtype = conv.dtype;
  return work;
}

}  // namespace

void conv3d_composed(const Stream& stream, const ComposedConv& conv) {
  if (conv.first >= conv.last) return;
  const ComposedWork work = work_of(conv);
  const dim3 grid(unsigned(work.planes * work.columns), unsigned(divide_up(conv.out, kComposedOut)));
  const Launch how{"conv3d_composed", grid, dim3(kComposedThreads), sizeof(ComposedShared)};
  if (conv.low.dtype == DType::f16) {
    launch(stream, how, conv3d_composed_kernel<__half>, work);
  } else {
    launch(stream, how, conv3d_composed_kernel<__nv_bfloat16>, work);
  }
}

std::string conv3d_composed_refusal(const ComposedConv& conv, const DeviceLimits& limits) {
  if (limits.arch < 80) return "sm_" + std::to_string(limits.arch) + " has no cp.async; sm_80 has";
  const DType type = conv.low.dtype;
  if (type != DType::f16 && type != DType::bf16)
    return std::string("inputs are ") + name_of(type) + ", not f16 or bf16";
  if (conv.skip.dtype != type) return "its inputs are of two types";
  if (conv.low.channels % 8 != 0 || conv.skip.channels % 8 != 0 || conv.out % 8 != 0) {
    return "8 does not divide its channels (" + std::to_string(conv.low.channels) + ", " +
           std::to_string(conv.skip.channels) + " -> " + std::to_string(conv.out) + ")";
  }
  if (limits.shared_bytes < int64_t(sizeof(ComposedShared))) {
    return "it takes " + std::to_string(sizeof(ComposedShared)) + " bytes of shared memory a block, the device has " +
           std::to_string(limits.shared_bytes);
  }
  return "";
}

int64_t conv3d_composed_partials(const ComposedConv& conv) {
  return divide_up(2 * conv.low_size[1], kComposedTile) * columns_d(conv);
}

}  // namespace sat::cuda
