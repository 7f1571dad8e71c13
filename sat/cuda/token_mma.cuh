// Private: one warp's matrix products of half types with f32 sums, as mask scores and attention use them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace sat::cuda {

/// Two values in one register, the first in the lower half, each rounded to nearest even.
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

/// sum [16, 8] += a [16, 16] * b [16, 8]. With g = lane / 4 and q = lane % 4, a lane holds
///   sum  (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1)
///   a    pairs of columns (g, 2q), (g + 8, 2q), (g, 2q + 8), (g + 8, 2q + 8)
///   b    pairs of rows (2q, g), (2q + 8, g)
template <class T>
__device__ inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, __half>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/// Eight bytes into shared memory at once, where the compiler would make two stores with bank conflicts of them.
__device__ inline void store_shared(void* to, uint32_t first, uint32_t second) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(uint32_t(__cvta_generic_to_shared(to))), "r"(first), "r"(second)
               : "memory");
}
__device__ inline void store_shared(float* to, float first, float second) {
  store_shared(static_cast<void*>(to), __float_as_uint(first), __float_as_uint(second));
}

/// Likewise into global memory: half a sector otherwise.
__device__ inline void store_global(float* to, float first, float second) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "f"(first), "f"(second)
               : "memory");
}

/// Four 8 x 8 matrices of half types from shared memory; lane i names row i % 8 of matrix i / 8, 16 bytes. A lane gets
/// of each the pair (g, 2q), (g, 2q + 1), or with kTransposed (2q, g), (2q + 1, g).
template <bool kTransposed>
__device__ inline void load_matrices(uint32_t (&to)[4], const void* row) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }
}

}  // namespace sat::cuda
