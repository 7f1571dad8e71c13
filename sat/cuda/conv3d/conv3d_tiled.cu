// The variant for f32 and for odd shapes: a 3x3x3 convolution on the f32 units, from a halo tile in shared memory.
#include <cuda_pipeline_primitives.h>

#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/moments.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kTileH = 2, kTileW = 16, kTileD = 8, kTileOut = 64;  // of a block's outputs
constexpr int kRun = 8;                                            // voxels along W, and channels, of a thread

/// What a block holds in shared memory, in floats: a chunk of input channels [chunk][H][D][W] with its halo, and the
/// weights of the nine taps of one kh [kw][kd][chunk][64], twice.
template <int kStride>
struct Tile {
  static constexpr int kChunk = kStride == 1 ? 8 : 4;
  static constexpr int kH = (kTileH - 1) * kStride + 3, kW = (kTileW - 1) * kStride + 3;
  static constexpr int kD = (kTileD - 1) * kStride + 3;
  static constexpr int kPitch = (kW + 3) / 4 * 4;  // of rows along W: runs begin at multiples of 16 bytes
  static constexpr int kVoxels = kH * kD * kPitch;
  static constexpr int kWeights = 9 * kChunk * kTileOut;
  static constexpr int64_t kBytes = 4 * (kChunk * kVoxels + 2 * kWeights);
};

/// Input channels [first, first + count) of one input; they are `before` + first of the joined channels.
struct Chunk {
  int input, count;
  int64_t first, before;
};
__device__ Chunk chunk_at(const Conv& conv, int64_t index, int size) {
  const int64_t of_first = (conv.inputs[0].channels + size - 1) / size;
  const int input = index < of_first ? 0 : 1;
  const int64_t first = (index - input * of_first) * size;
  return {input, int(min(int64_t(size), conv.inputs[size_t(input)].channels - first)), first,
          input * conv.inputs[0].channels};
}

/// A chunk's tile, final values with zeros outside the volume. (h, w, d): the tile's first voxel, in the input.
template <class In, int kStride>
__device__ void load_tile(float* tile, const Conv& conv, const Chunk& chunk, int64_t h, int64_t w, int64_t d) {
  using T = Tile<kStride>;
  const ConvInput& input = conv.inputs[size_t(chunk.input)];
  const bool has_norm = input.norm.center != nullptr;
  const bool whole = input.channels % T::kChunk == 0;  // the chunk's bytes lie at a multiple of their size
  float center[T::kChunk], factor[T::kChunk], shift[T::kChunk];
#pragma unroll
  for (int i = 0; i < T::kChunk; ++i) {
    const bool has = has_norm && i < chunk.count;
    center[i] = has ? input.norm.center[chunk.first + i] : 0;
    factor[i] = has ? input.norm.factor[chunk.first + i] : 0;
    shift[i] = has ? input.norm.shift[chunk.first + i] : 0;
  }
  for (int i = int(threadIdx.x); i < T::kVoxels; i += kThreads) {
    // Few channels: neighbouring threads read neighbours in memory, along D; else each reads whole sectors and
    // neighbours write neighbouring words.
    const int lw = whole ? i % T::kPitch : i / T::kD % T::kPitch, ld = whole ? i / T::kPitch % T::kD : i % T::kD;
    const int lh = i / (T::kPitch * T::kD);
    const int64_t xh = h + lh, xw = w + lw, xd = d + ld;
    float values[T::kChunk] = {};
    if (lw < T::kW && xh >= 0 && xh < conv.in_size[0] && xw >= 0 && xw < conv.in_size[1] && xd >= 0 &&
        xd < conv.in_size[2]) {
      const In* from = static_cast<const In*>(input.values) +
                       plane_offset(xh, input.ring, conv.in_size[1] * conv.in_size[2] * input.channels) +
                       (xw * conv.in_size[2] + xd) * input.channels + chunk.first;
      if (whole) {
        load_run<In>(values, from);
      } else {
#pragma unroll
        for (int c = 0; c < T::kChunk; ++c) {
          if (c < chunk.count) values[c] = widen(from[c]);
        }
      }
      if (has_norm) {
#pragma unroll
        for (int c = 0; c < T::kChunk; ++c) {
          values[c] = normalised(values[c], center[c], factor[c], shift[c], input.norm.slope);
        }
      }
    }
    float* to = tile + (lh * T::kD + ld) * T::kPitch + lw;
#pragma unroll
    for (int c = 0; c < T::kChunk; ++c) {
      if (c < chunk.count) to[c * T::kVoxels] = values[c];
    }
  }
}

/// Starts the copy of a chunk's weights of the nine taps (kh, *, *) to the output channels [o, o + 64).
template <class In, int kStride>
__device__ void load_weights(float* weights, const Conv& conv, const Chunk& chunk, int kh, int64_t o) {
  constexpr int kChunk = Tile<kStride>::kChunk;
  const In* all = static_cast<const In*>(conv.weights);
  if constexpr (sizeof(In) == 4) {
    const int64_t in = conv.inputs[0].channels + conv.inputs[1].channels;
    const int64_t at = o + threadIdx.x % 16 * 4;
    for (int row = int(threadIdx.x) / 16; row < 9 * kChunk; row += kThreads / 16) {
      const int tap = row / kChunk, c = row % kChunk;
      if (c >= chunk.count) continue;
      const In* from = all + ((kh * 9 + tap) * in + chunk.before + chunk.first + c) * conv.out + at;
      float* to = weights + row * kTileOut + threadIdx.x % 16 * 4;
      if (conv.out % 4 == 0) {
        __pipeline_memcpy_async(to, at < conv.out ? from : all, 16, at < conv.out ? 0 : 16);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) to[i] = at + i < conv.out ? from[i] : 0;
      }
    }
  } else {
    const int64_t columns = pad16(conv.inputs[0].channels) + pad16(conv.inputs[1].channels);
    const int64_t column = (chunk.input == 0 ? 0 : pad16(conv.inputs[0].channels)) + chunk.first;
    const int64_t rows = pad16(conv.out), row = o + threadIdx.x % kTileOut;
    for (int tap = int(threadIdx.x) / kTileOut; tap < 9; tap += kThreads / kTileOut) {
      float values[kChunk] = {};
      if (row < rows) load_run<In>(values, all + ((kh * 9 + tap) * rows + row) * columns + column);
#pragma unroll
      for (int c = 0; c < kChunk; ++c) weights[(tap * kChunk + c) * kTileOut + threadIdx.x % kTileOut] = values[c];
    }
  }
  __pipeline_commit();
}

/// sums[v][o] += the products of one kh: `tile` at the thread's row of its first channel, `weights` at its channels,
/// four and four 32 further on. A row of inputs along W is read once for its three taps.
template <int kStride>
__device__ void multiply(float (&sums)[kRun][8], const float* tile, const float* weights, int channels) {
  using T = Tile<kStride>;
  constexpr int kReach = (kRun - 1) * kStride + 3, kQuads = kStride == 1 ? 3 : 4;
#pragma unroll 1
  for (int c = 0; c < channels; ++c, tile += T::kVoxels, weights += kTileOut) {
#pragma unroll
    for (int kd = 0; kd < 3; ++kd) {
      float x[kQuads * 4 + 1];
#pragma unroll
      for (int i = 0; i < kQuads; ++i) {
        const float4 quad = *reinterpret_cast<const float4*>(tile + kd * T::kPitch + 4 * i);
        x[4 * i] = quad.x, x[4 * i + 1] = quad.y, x[4 * i + 2] = quad.z, x[4 * i + 3] = quad.w;
      }
      if constexpr (kReach > kQuads * 4) x[kReach - 1] = tile[kd * T::kPitch + kReach - 1];
#pragma unroll
      for (int kw = 0; kw < 3; ++kw) {
        const float* row = weights + (kw * 3 + kd) * T::kChunk * kTileOut;
        const float4 a = *reinterpret_cast<const float4*>(row), b = *reinterpret_cast<const float4*>(row + 32);
        const float w[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
        for (int v = 0; v < kRun; ++v) {
#pragma unroll
          for (int o = 0; o < 8; ++o) sums[v][o] = fmaf(x[v * kStride + kw], w[o], sums[v][o]);
        }
      }
    }
  }
}

/// Stores a thread's first `count` voxels: `values` at its first voxel and channel, channels o to o + 3 and 32 further.
template <class Out>
__device__ void store_values(Out* values, const float (&sums)[kRun][8], const Conv& conv, int count, int64_t o) {
  const int64_t a_voxel = conv.out_size[2] * conv.out;  // the next along W
#pragma unroll
  for (int v = 0; v < kRun; ++v) {
    if (v >= count) return;
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const float four[4] = {sums[v][4 * part], sums[v][4 * part + 1], sums[v][4 * part + 2], sums[v][4 * part + 3]};
      Out* to = values + v * a_voxel + 32 * part;
      if (conv.out % 4 == 0) {
        if (o + 32 * part < conv.out) store_run<Out>(to, four);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (o + 32 * part + i < conv.out) to[i] = rounded<Out>(four[i]);
        }
      }
    }
  }
}

/// Statistics of a thread's eight channels.
struct Moments {
  float count, mean[8], m2[8];
};

/// Of a thread's first `count` voxels in two passes, merged over the warp's four runs; lanes 0 to 7 have the whole
/// warp's.
__device__ Moments warp_moments(const float (&sums)[kRun][8], int count) {
  Moments m{float(count), {}, {}};
  const float inverse = count > 0 ? 1 / m.count : 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float sum = 0;
#pragma unroll
    for (int v = 0; v < kRun; ++v) sum += v < count ? sums[v][i] : 0;
    m.mean[i] = sum * inverse;
#pragma unroll
    for (int v = 0; v < kRun; ++v) {
      const float apart = v < count ? sums[v][i] - m.mean[i] : 0;
      m.m2[i] = fmaf(apart, apart, m.m2[i]);
    }
  }
#pragma unroll
  for (int lanes = 8; lanes <= 16; lanes *= 2) {  // as merged() of moments.cuh, for channels of one count
    const float other = __shfl_down_sync(~0u, m.count, lanes), total = m.count + other;
    const float share = other > 0 ? other / total : 0, weight = m.count * share;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float mean = __shfl_down_sync(~0u, m.mean[i], lanes), m2 = __shfl_down_sync(~0u, m.m2[i], lanes);
      const float apart = mean - m.mean[i];
      m.mean[i] = fmaf(apart, share, m.mean[i]);
      m.m2[i] = fmaf(apart * apart, weight, m.m2[i] + m2);
    }
    m.count = total;
  }
  return m;
}

/// Planes [first, last) of a convolution, and statistics of tiles of 16 x 8 voxels of a plane.
///   inputs [H, W, D, C] each, norm on load; values [H', W', D', out]; partials [H', tiles, out]
/// One block 2 x 16 x 8 voxels of 64 channels. It takes the input channels in chunks: a chunk's tile with its halo is
/// read, normalised and laid out with W innermost, then the weights of one kh after the other, copied while those
/// before are multiplied. A thread sums 8 voxels along W times 8 channels: 27 * 64 fma an input channel against 9 * 3
/// (stride 2: 9 * 5) + 18 reads of up to 16 bytes. Eight lanes have all channels of a run of voxels, so that a read of
/// inputs is one word of a bank and a read of weights 128 bytes in a row.
/// Products and sums are f32, whatever the types. A thread's statistics are taken in two passes over its registers and
/// merged by a fixed tree. Traffic: the input 4 * 18 * 10 / 256 = 2.8 times (stride 2: 5 * 33 * 17 / 2048 = 1.4 times),
/// each time for 64 output channels; weights once a block.
template <class In, int kStride>
__global__ void __launch_bounds__(kThreads, 2) tiled_kernel(const Conv conv) {
  using T = Tile<kStride>;
  extern __shared__ float4 shared[];
  float* tile = reinterpret_cast<float*>(shared);
  float* weights = tile + T::kChunk * T::kVoxels;

  const int64_t tiles_d = (conv.out_size[2] + kTileD - 1) / kTileD;
  const int64_t h0 = conv.first + int64_t(blockIdx.y) * kTileH, w0 = blockIdx.x / tiles_d * kTileW;
  const int64_t d0 = blockIdx.x % tiles_d * kTileD, o0 = int64_t(blockIdx.z) * kTileOut;
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, group = lane % 8;
  const int lh = warp / 4, run = warp % 4 * 4 + lane / 8, ld = run % kTileD, lw = run / kTileD * kRun;

  const int64_t chunks =
      (conv.inputs[0].channels + T::kChunk - 1) / T::kChunk + (conv.inputs[1].channels + T::kChunk - 1) / T::kChunk;
  float sums[kRun][8] = {};
  load_weights<In, kStride>(weights, conv, chunk_at(conv, 0, T::kChunk), 0, o0);
  for (int64_t stage = 0; stage < 3 * chunks; ++stage) {
    const int kh = int(stage % 3);
    const Chunk chunk = chunk_at(conv, stage / 3, T::kChunk);
    if (kh == 0) {
      __syncthreads();  // the chunk before has been read
      load_tile<In, kStride>(tile, conv, chunk, h0 * kStride - 1, w0 * kStride - 1, d0 * kStride - 1);
    }
    __pipeline_wait_prior(0);
    __syncthreads();
    if (stage + 1 < 3 * chunks) {
      load_weights<In, kStride>(weights + (stage + 1) % 2 * T::kWeights, conv,
                                chunk_at(conv, (stage + 1) / 3, T::kChunk), int((stage + 1) % 3), o0);
    }
    multiply<kStride>(sums, tile + ((lh * kStride + kh) * T::kD + ld * kStride) * T::kPitch + lw * kStride,
                      weights + stage % 2 * T::kWeights + 4 * group, chunk.count);
  }

  const int64_t h = h0 + lh, w = w0 + lw, d = d0 + ld, o = o0 + 4 * group;
  const bool inside = h < conv.last && d < conv.out_size[2] && w < conv.out_size[1];
  const int count = inside ? int(min(int64_t(kRun), conv.out_size[1] - w)) : 0;
  const int64_t at = ((h * conv.out_size[1] + w) * conv.out_size[2] + d) * conv.out + o;
  switch (conv.dtype) {
    case DType::f16: store_values(static_cast<__half*>(conv.values) + at, sums, conv, count, o); break;
    case DType::bf16: store_values(static_cast<__nv_bfloat16*>(conv.values) + at, sums, conv, count, o); break;
    default: store_values(static_cast<float*>(conv.values) + at, sums, conv, count, o);
  }

  PartialMoments* parts = reinterpret_cast<PartialMoments*>(shared);  // [8 warps][64]
  __syncthreads();                                                    // tile and weights have been read
  const Moments moments = warp_moments(sums, count);
#pragma unroll
  for (int i = 0; i < 8 && lane < 8; ++i) {
    parts[warp * kTileOut + i / 4 * 32 + 4 * group + i % 4] = {moments.count, moments.mean[i], moments.m2[i]};
  }
  __syncthreads();
  const int plane = int(threadIdx.x) / kTileOut, channel = int(threadIdx.x) % kTileOut;
  if (plane >= kTileH || h0 + plane >= conv.last || o0 + channel >= conv.out) return;
  PartialMoments partial = parts[plane * 4 * kTileOut + channel];
  for (int i = 1; i < 4; ++i) partial = merged(partial, parts[(plane * 4 + i) * kTileOut + channel]);
  conv.partials[((h0 + plane) * gridDim.x + blockIdx.x) * conv.out + o0 + channel] = partial;
}

int64_t shared_bytes(const Conv& conv) { return conv.stride == 1 ? Tile<1>::kBytes : Tile<2>::kBytes; }

}  // namespace

std::string conv3d_tiled_refusal(const Conv& conv, const DeviceLimits& limits) {
  if (shared_bytes(conv) <= limits.shared_bytes) return "";
  return "a tile takes " + std::to_string(shared_bytes(conv)) + " bytes of shared memory, this device has " +
         std::to_string(limits.shared_bytes);
}

int64_t conv3d_tiled_partials(const Conv& conv) {
  return divide_up(conv.out_size[1], kTileW) * divide_up(conv.out_size[2], kTileD);
}

void conv3d_tiled(const Stream& stream, const Conv& conv) {
  const dim3 grid(unsigned(conv3d_tiled_partials(conv)), unsigned(divide_up(conv.last - conv.first, kTileH)),
                  unsigned(divide_up(conv.out, kTileOut)));
  with_element(conv.inputs[0].dtype, [&](auto in) {
    launch(stream, {"conv3d_tiled", grid, dim3(kThreads), shared_bytes(conv)},
           conv.stride == 1 ? tiled_kernel<decltype(in), 1> : tiled_kernel<decltype(in), 2>, conv);
  });
}

}  // namespace sat::cuda
