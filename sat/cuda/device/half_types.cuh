// Private: elements of feature volumes in device code: loads that widen f32, f16 or bf16 to f32, the norm that a raw
// value is still to be given, and stores that round to the volume's type.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "sat/cuda/kernels.h"
#include "sat/tensor/error.h"
#include "sat/tensor/half.h"

namespace sat::cuda {

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(__half value) { return __half2float(value); }
__device__ inline float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

/// To nearest even. As on the CPU, f16 holds within its range what would leave it; NaN becomes a finite number, which
/// is found in the statistics of the f32 results.
template <class T>
__device__ inline T rounded(float value);
template <>
__device__ inline float rounded<float>(float value) {
  return value;
}
template <>
__device__ inline __half rounded<__half>(float value) {
  return __float2half_rn(fminf(fmaxf(value, -kLargestF16), kLargestF16));
}
template <>
__device__ inline __nv_bfloat16 rounded<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

/// What a norm does to a raw value x of one channel.
__device__ inline float normalised(float x, float center, float factor, float shift, float slope) {
  const float y = fmaf(x - center, factor, shift);
  return y < 0 ? slope * y : y;
}

/// The final value of channel c; `norm.center` is null for values that are final already.
__device__ inline float final_value(float x, const PendingNorm& norm, int64_t c) {
  if (norm.center == nullptr) return x;
  return normalised(x, norm.center[c], norm.factor[c], norm.shift[c], norm.slope);
}

/// What memory moves at once: up to 16 bytes at a multiple of their number.
template <int kBytes>
struct Word {
  using Type = uint4;
};
template <>
struct Word<8> {
  using Type = uint2;
};
template <>
struct Word<4> {
  using Type = uint32_t;
};
template <>
struct Word<2> {
  using Type = uint16_t;
};

/// N neighbouring elements that lie at a multiple of their bytes, or of 16 where they have more.
template <class T, int N>
__device__ inline void load_run(float (&to)[N], const T* from) {
  using W = typename Word<int(sizeof(T)) * N>::Type;
  constexpr int kPerWord = int(sizeof(W) / sizeof(T));
#pragma unroll
  for (int first = 0; first < N; first += kPerWord) {
    const W word = *reinterpret_cast<const W*>(from + first);
    T values[kPerWord];
    memcpy(values, &word, sizeof word);
#pragma unroll
    for (int i = 0; i < kPerWord; ++i) to[first + i] = widen(values[i]);
  }
}

/// N neighbouring elements, rounded, as one word.
template <class T, int N>
__device__ inline typename Word<int(sizeof(T)) * N>::Type rounded_word(const float* from) {
  typename Word<int(sizeof(T)) * N>::Type word;
  T values[N];
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = rounded<T>(from[i]);
  static_assert(sizeof word == sizeof values, "a word has 2, 4, 8 or 16 bytes");
  memcpy(&word, values, sizeof word);
  return word;
}

/// To global memory, N elements of up to 16 bytes, which a plain store might take apart.
template <class T, int N>
__device__ inline void store_run(T* to, const float (&from)[N]) {
  using W = typename Word<int(sizeof(T)) * N>::Type;
  __stwb(reinterpret_cast<W*>(to), rounded_word<T, N>(from));
}

/// Where plane h of an input begins, in elements.
__host__ __device__ inline int64_t plane_offset(int64_t h, int64_t ring, int64_t plane_elements) {
  return (ring > 0 ? h % ring : h) * plane_elements;
}

/// Calls body(T{}) with the element type of `dtype`.
template <class Body>
void with_element(DType dtype, Body body) {
  switch (dtype) {
    case DType::f32: return body(float{});
    case DType::f16: return body(__half{});
    case DType::bf16: return body(__nv_bfloat16{});
    default: fail("features are held as f32, f16 or bf16, not ", name_of(dtype));
  }
}

}  // namespace sat::cuda
