// Private: what mask scores and attention need beside the products of tensor_core.cuh: rounding in pairs, wide stores,
// transposed loads.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "sat/cuda/device/tensor_core.cuh"

namespace sat::cuda {

/// Two values in one register, the first in the lower half, each rounded to nearest even. Unlike rounded_pair() of
/// conv3d_mma_block.cuh, what leaves the range of f16 becomes infinite, which masks and weights have to show.
template <class T>
__device__ inline uint32_t packed(float first, float second) {
  uint32_t pair;
  if constexpr (std::is_same_v<T, __half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  }
  return pair;
}

/// Eight bytes into shared memory at once, where the compiler would make two stores with bank conflicts of them.
__device__ inline void store_shared(void* to, uint32_t first, uint32_t second) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(shared_address(to)), "r"(first), "r"(second) : "memory");
}
__device__ inline void store_shared(float* to, float first, float second) {
  store_shared(static_cast<void*>(to), __float_as_uint(first), __float_as_uint(second));
}

/// Likewise into global memory: half a sector otherwise.
__device__ inline void store_global(float* to, float first, float second) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "f"(first), "f"(second)
               : "memory");
}

/// Four 8 x 8 matrices as load_matrices() of tensor_core.cuh, or with kTransposed each one's transpose: a lane then
/// gets elements 2 * (l % 4) and the next of column l / 4.
template <bool kTransposed>
__device__ inline void load_matrices(uint32_t (&to)[4], const void* row) {
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
  } else {
    load_matrices(to, shared_address(row));
  }
}

}  // namespace sat::cuda
