// Private: instructions of sm_80 that C++ has no words for: asynchronous copies into shared memory, loads of 8 x 8
// matrices, and products of 16 x 8 x 16 on tensor cores. Shared memory is addressed by 32 bits.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace sat::cuda {

__device__ inline uint32_t shared_address(const void* pointer) { return uint32_t(__cvta_generic_to_shared(pointer)); }

/// 16 bytes to shared memory past the first cache; zeros where `there` is false (`from` is not read then).
__device__ inline void copy_async16(uint32_t to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}
/// 4 bytes.
__device__ inline void copy_async4(uint32_t to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
}
/// Closes a group of this thread's copies, which may be empty.
__device__ inline void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until all but the latest kLeft groups of this thread's copies are there: for this thread; for others behind a
/// barrier.
template <int kLeft>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

/// Four 8 x 8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, and gets of matrix i
/// the elements 2 * (l % 4) and 2 * (l % 4) + 1 of row l / 4 in to[i].
__device__ inline void load_matrices(uint32_t (&to)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

/// sums += a * b in f32. a: 16 rows x 16, four matrices (rows 0-7, rows 8-15, then the same of columns 8-15); b: 16 x 8
/// as two matrices of its transpose. Of sums a lane holds elements 2 * (l % 4) + {0, 1} of rows l / 4 and l / 4 + 8.
template <class T>
__device__ inline void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
__device__ inline void multiply_add<__half>(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void multiply_add<__nv_bfloat16>(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Byte of 16-byte piece `piece` of row `row`, kPieces (2, 4 or 8) pieces a row, in an order in which one piece of
/// eight neighbouring rows lies in 32 different banks.
template <int kPieces>
__device__ inline uint32_t swizzled(uint32_t row, uint32_t piece) {
  return (row * kPieces + (piece ^ (row / (8 / kPieces) & (kPieces - 1)))) * 16;
}

}  // namespace sat::cuda
