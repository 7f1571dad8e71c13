// Transposed convolution with kernel = stride = 2: a matrix product whose columns scatter to eight output voxels.
#include "sat/cuda/backend.h"
#include "sat/cuda/device/half_types.cuh"
#include "sat/cuda/device/tensor_core.cuh"

namespace sat::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kVoxels = 128, kColumns = 128;  // of a block: voxels of a plane of x, columns (a, b, c, out)

/// Where an output `column` of voxel (0, 0) of plane h of x lies in y, and how much further it lies for voxel v of the
/// plane: in elements.
__device__ int64_t column_place(const ConvTranspose& conv, int64_t h, int column) {
  const int out = int(conv.out), tap = column / out;
  const int64_t depth = 2 * conv.in_size[2];
  return plane_offset(2 * h + tap / 4, conv.ring, 2 * conv.in_size[1] * depth * out) +
         (tap / 2 % 2 * depth + tap % 2) * out + column % out;
}
__device__ int64_t voxel_place(const ConvTranspose& conv, int v) {
  const int depth = int(conv.in_size[2]), w = v / depth;
  return (int64_t(w) * 4 * depth + 2 * (v - w * depth)) * conv.out;
}

/// The bias of a block's columns, into shared memory.
__device__ void load_bias(float (&to)[kColumns], const ConvTranspose& conv, int column0) {
  if (threadIdx.x >= kColumns) return;
  to[threadIdx.x] = conv.bias != nullptr ? conv.bias[(column0 + int(threadIdx.x)) % int(conv.out)] : 0;
}

/// Eight channels of a voxel, raw; zeros beyond `count`, which may be negative. `whole`: all are there and lie at a
/// multiple of their bytes.
template <class T>
__device__ void load_channels(float (&to)[8], const T* from, int count, bool whole) {
  if (whole) {
    load_run<T>(to, from);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = i < count ? widen(from[i]) : 0;
  }
}

// ---- f32 -----------------------------------------------------------------------------------------------------------

constexpr int kDepth = 16;  // input channels of a step

/// Planes [2 * first, 2 * last) of y, all in f32.
///   x [H, W, D, in], norm on load; weights [in][8 * out]; y [2H, 2W, 2D, out]
/// One block 128 voxels of a plane of x and 128 of the 8 * out columns; a thread 8 voxels (two runs of four, 64 apart)
/// by 8 columns (likewise). Steps of 16 channels through shared memory, voxels turned to run along the rows: 64 fma
/// against four reads of 16 bytes. Traffic: x ceil(8 * out / 128) times, weights once a block, y once.
__global__ void __launch_bounds__(kThreads, 2) conv_transpose_f32_kernel(const ConvTranspose conv) {
  __shared__ __align__(16) float voxels[kDepth][kVoxels + 4], weights[kDepth][kColumns], bias[kColumns];
  const int64_t h = conv.first + blockIdx.z;
  const int plane = int(conv.in_size[1] * conv.in_size[2]), columns = int(8 * conv.out), in = int(conv.input.channels);
  const int v0 = int(blockIdx.y) * kVoxels, column0 = int(blockIdx.x) * kColumns;
  const float* x = static_cast<const float*>(conv.input.values) + plane_offset(h, conv.input.ring, int64_t(plane) * in);
  const int voxel = int(threadIdx.x) % kVoxels, part = int(threadIdx.x) / kVoxels * 8;  // that this thread loads
  const int row = 4 * (int(threadIdx.x) / 16), column = 4 * (int(threadIdx.x) % 16);    // of its sums

  load_bias(bias, conv, column0);
  float sums[8][8] = {};
  for (int c0 = 0; c0 < in; c0 += kDepth) {
    const int count = min(8, in - c0 - part);
    float values[8] = {};
    if (v0 + voxel < plane) {
      load_channels(values, x + int64_t(v0 + voxel) * in + c0 + part, count, count == 8 && in % 4 == 0);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (i < count) values[i] = final_value(values[i], conv.input.norm, c0 + part + i);
      }
    }
    __syncthreads();  // the step before has been multiplied
#pragma unroll
    for (int i = 0; i < 8; ++i) voxels[part + i][voxel] = values[i];
    for (int i = int(threadIdx.x); i < kDepth * kColumns / 4; i += kThreads) {
      const int c = i / (kColumns / 4), at = i % (kColumns / 4) * 4;
      const bool there = c0 + c < in && column0 + at < columns;
      const float* from = static_cast<const float*>(conv.weights) + int64_t(c0 + c) * columns + column0 + at;
      *reinterpret_cast<float4*>(&weights[c][at]) = there ? *reinterpret_cast<const float4*>(from) : float4{};
    }
    __syncthreads();
#pragma unroll 2
    for (int c = 0; c < kDepth; ++c) {
      float a[8], b[8];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float4 of_x = *reinterpret_cast<const float4*>(&voxels[c][64 * half + row]);
        const float4 of_w = *reinterpret_cast<const float4*>(&weights[c][64 * half + column]);
        a[4 * half] = of_x.x, a[4 * half + 1] = of_x.y, a[4 * half + 2] = of_x.z, a[4 * half + 3] = of_x.w;
        b[4 * half] = of_w.x, b[4 * half + 1] = of_w.y, b[4 * half + 2] = of_w.z, b[4 * half + 3] = of_w.w;
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
      }
    }
  }

  float* y = static_cast<float*>(conv.values);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int first = 64 * half + column;  // of four
    if (column0 + first >= columns) continue;
    const int64_t at = column_place(conv, h, column0 + first);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int v = v0 + i / 4 * 64 + row + i % 4;
      if (v >= plane) continue;
      const int64_t further = voxel_place(conv, v);
      float four[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) four[j] = sums[i][4 * half + j] + bias[first + j];
      if (conv.out % 4 == 0) {
        store_run<float>(y + at + further, four);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) y[column_place(conv, h, column0 + first + j) + further] = four[j];
      }
    }
  }
}

// ---- half types, on tensor cores -----------------------------------------------------------------------------------

constexpr int kStep = 64;                   // input channels of a step: rows of 128 bytes
constexpr int kResultPitch = kColumns + 8;  // of the results on their way out, in elements: 17 pieces of 16 bytes

/// Planes [2 * first, 2 * last) of y from half operands, summed in f32.
///   x [H, W, D, in], norm on load, rounded to its type again; weights [8 * out][pad16(in)]; y [2H, 2W, 2D, out]
/// One block 128 voxels of a plane of x and 128 of the 8 * out columns, eight warps of 32 x 64. Steps of 64 channels:
/// weights come by asynchronous copies while voxels are read, normalised and stored; both lie in rows of 128 bytes
/// whose 16-byte pieces are swizzled, so that ldmatrix meets no bank twice. The results go through shared memory, so
/// that each is stored in pieces of 16 bytes. Traffic: x ceil(8 * out / 128) times, weights once a block, y once.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) conv_transpose_mma_kernel(const ConvTranspose conv) {
  __shared__ __align__(128) unsigned char shared[kVoxels * kResultPitch * 2];
  __shared__ __align__(8) float bias[kColumns];
  static_assert(sizeof shared >= (kVoxels + kColumns) * kStep * 2, "operands and results share their place");
  const int64_t h = conv.first + blockIdx.z, in = conv.input.channels, padded = pad16(in);
  const int plane = int(conv.in_size[1] * conv.in_size[2]), columns = int(8 * conv.out);
  const int v0 = int(blockIdx.y) * kVoxels, column0 = int(blockIdx.x) * kColumns;
  const T* x = static_cast<const T*>(conv.input.values) + plane_offset(h, conv.input.ring, plane * in);
  const T* weights = static_cast<const T*>(conv.weights);
  const uint32_t voxels_at = shared_address(shared), weights_at = voxels_at + kVoxels * kStep * 2;
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, piece = int(threadIdx.x) % 8;
  const int row0 = warp / 2 * 32, warp_column = warp % 2 * 64;

  load_bias(bias, conv, column0);
  float sums[2][8][4] = {};
  for (int64_t c0 = 0; c0 < padded; c0 += kStep) {
    const int64_t c = c0 + 8 * piece;
    const int count = int(min(int64_t(8), in - c));
    const bool has_norm = conv.input.norm.center != nullptr;
    float center[8], factor[8], shift[8];  // of the channels that this thread loads
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      center[i] = has_norm && i < count ? conv.input.norm.center[c + i] : 0;
      factor[i] = has_norm && i < count ? conv.input.norm.factor[c + i] : 0;
      shift[i] = has_norm && i < count ? conv.input.norm.shift[c + i] : 0;
    }
    __syncthreads();  // the step before has been multiplied
#pragma unroll
    for (int row = int(threadIdx.x) / 8; row < kColumns; row += kThreads / 8) {
      const bool there = column0 + row < columns && c < padded;
      copy_async16(weights_at + swizzled<8>(uint32_t(row), uint32_t(piece)),
                   there ? weights + (column0 + row) * padded + c : weights, there);
    }
    close_copies();
#pragma unroll
    for (int row = int(threadIdx.x) / 8; row < kVoxels; row += kThreads / 8) {
      float values[8] = {};
      if (v0 + row < plane) {
        load_channels(values, x + (v0 + row) * in + c, count, count == 8 && in % 8 == 0);
#pragma unroll
        for (int i = 0; i < 8 && has_norm; ++i) {
          values[i] = normalised(values[i], center[i], factor[i], shift[i], conv.input.norm.slope);
        }
      }
      *reinterpret_cast<uint4*>(shared + swizzled<8>(uint32_t(row), uint32_t(piece))) = rounded_word<T, 8>(values);
    }
    wait_copies<0>();
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kStep / 16; ++k) {
      if (c0 + 16 * k >= padded) break;
      uint32_t a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {  // rows 0-7 and 8-15 of channels 0-7, then of channels 8-15
        load_matrices(a[i], voxels_at + swizzled<8>(uint32_t(row0 + 16 * i + lane % 16), uint32_t(2 * k + lane / 16)));
      }
#pragma unroll
      for (int j = 0; j < 8; j += 2) {  // columns 0-7 of channels 0-7 and 8-15, then columns 8-15
        uint32_t b[4];
        const int row = warp_column + 8 * j + lane / 16 * 8 + lane % 8;
        load_matrices(b, weights_at + swizzled<8>(uint32_t(row), uint32_t(2 * k + lane / 8 % 2)));
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          multiply_add<T>(sums[i][j], a[i], b[0], b[1]);
          multiply_add<T>(sums[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  T* results = reinterpret_cast<T*>(shared);
  const int out = int(conv.out);
  __syncthreads();  // the operands have been read
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int column = warp_column + 8 * j + lane % 4 * 2;
    const float2 biases = *reinterpret_cast<const float2*>(&bias[column]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // rows of eight
      const int row = row0 + 8 * i + lane / 4;
      const float pair[2] = {sums[i / 2][j][i % 2 * 2] + biases.x, sums[i / 2][j][i % 2 * 2 + 1] + biases.y};
      *reinterpret_cast<uint32_t*>(results + row * kResultPitch + column) = rounded_word<T, 2>(pair);
    }
  }
  __syncthreads();
  constexpr int kPieces = kColumns / 8;
  const int first = int(threadIdx.x) % kPieces * 8;  // of eight columns
  if (column0 + first >= columns) return;
  T* y = static_cast<T*>(conv.values);
  const int64_t at = column_place(conv, h, column0 + first);
  for (int row = int(threadIdx.x) / kPieces; row < kVoxels && v0 + row < plane; row += kThreads / kPieces) {
    const int64_t further = voxel_place(conv, v0 + row);
    const T* from = results + row * kResultPitch + first;
    if (out % 8 == 0) {
      *reinterpret_cast<uint4*>(y + at + further) = *reinterpret_cast<const uint4*>(from);
    } else {
      for (int j = 0; j < 8; ++j) y[column_place(conv, h, column0 + first + j) + further] = from[j];
    }
  }
}

}  // namespace

void conv_transpose3d(const Stream& stream, const ConvTranspose& conv) {
  const dim3 grid(unsigned(divide_up(8 * conv.out, kColumns)),
                  unsigned(divide_up(conv.in_size[1] * conv.in_size[2], kVoxels)), unsigned(conv.last - conv.first));
  with_element(conv.input.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 4) {
      launch(stream, {"conv_transpose_f32", grid, dim3(kThreads)}, conv_transpose_f32_kernel, conv);
    } else {
      launch(stream, {"conv_transpose_mma", grid, dim3(kThreads)}, conv_transpose_mma_kernel<T>, conv);
    }
  });
}

Tensor packed_up_sampling(const Tensor& weight, DType input) {
  const int64_t in = weight.shape[0], out = weight.shape[1];
  const bool wide = input == DType::f32;
  const int64_t columns = wide ? in : pad16(in);
  Tensor packed(wide ? Shape({in, 8 * out}) : Shape({8 * out, columns}));
  parallel_for(8 * out, 64, [&](int64_t first, int64_t last) {
    const float* from = weight.data<float>();
    float* to = packed.data<float>();
    for (int64_t row = first; row < last; ++row) {
      const int64_t corner = row / out, o = row % out;
      for (int64_t c = 0; c < columns; ++c) {
        to[wide ? c * 8 * out + row : row * columns + c] = c < in ? from[(c * out + o) * 8 + corner] : 0.f;
      }
    }
  });
  return packed.cast(input);
}

PackedMatrix CudaBackend::pack_conv_transpose3d(const Tensor& weight) {
  PackedMatrix packed;
  packed.panels = packed_up_sampling(weight, DType::f32).to(runtime_.device());
  packed.in = weight.shape[0];
  packed.out = 8 * weight.shape[1];
  return packed;
}

void CudaBackend::conv_transpose3d(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias) {
  const Stream& stream = runtime_.stream();
  const Features values{x};
  const int64_t samples = x.shape[0], per_sample = samples > 0 ? y.numel() / samples : 0;
  ConvTranspose conv;
  conv.in_size = grid_of(x.shape, 1);
  conv.weights = weight.panels.raw();
  conv.bias = bias.address<float>();
  conv.out = weight.out / 8;
  conv.last = x.shape[1];
  for (int64_t b = 0; b < samples; ++b) {
    conv.input = input_of(values, b);
    conv.values = y.address<float>() + b * per_sample;
    cuda::conv_transpose3d(stream, conv);
  }
}

}  // namespace sat::cuda
