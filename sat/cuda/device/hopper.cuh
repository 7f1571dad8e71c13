// Private: the sm_90a instructions that kernels use, one thin function each: mbarriers, bulk tensor loads, products of
// a warpgroup, registers handed from warpgroup to warpgroup. Knows no layout and no kernel.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace sat::cuda::hopper {

__device__ inline uint32_t shared_address(const void* pointer) { return uint32_t(__cvta_generic_to_shared(pointer)); }

// ---- barriers in shared memory -------------------------------------------------------------------------------------

__device__ inline void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
/// Barriers that were initialised are seen by bulk loads too. A block barrier has to follow.
__device__ inline void fence_barrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ inline void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
/// Arrives, and lets the phase wait for `bytes` of bulk loads as well.
__device__ inline void barrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
/// Waits until the phase of this parity is complete. A fresh barrier answers parity 1 at once.
__device__ inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (done == 0);
}

/// Named barrier `id` of `threads` threads: those that wait, and those that only say that they came by.
__device__ inline void named_wait(int id, int threads) {
  asm volatile("barrier.cta.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_arrive(int id, int threads) {
  asm volatile("barrier.cta.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// What this thread wrote to shared memory is seen by wgmma and bulk copies that are ordered after it.
__device__ inline void fence_async_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- bulk tensor loads: boxes of a tensor map, zeros outside the tensor ---------------------------------------------

/// `map` is a CUtensorMap in parameter space; `to` is aligned to 128 bytes (to the pattern's size where swizzled).
__device__ inline void load_box(void* to, const void* map, uint64_t* barrier, int x0, int x1, int x2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(x0), "r"(x1), "r"(x2)
      : "memory");
}
__device__ inline void load_box(void* to, const void* map, uint64_t* barrier, int x0, int x1, int x2, int x3, int x4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(barrier)), "r"(x0), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
      : "memory");
}

// ---- matrices in the registers of a warp ----------------------------------------------------------------------------

/// Four 8x8 matrices of 16-bit elements; lane l points at row l % 8 of matrix l / 8.
__device__ inline void load_matrices(uint32_t (&to)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}
/// An 8x8 matrix of 16-bit elements: lane l holds columns 2 * (l % 4) and the next of row l / 4, before and after.
__device__ inline uint32_t transposed(uint32_t matrix) {
  uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(matrix));
  return result;
}

// ---- products of a warpgroup ----------------------------------------------------------------------------------------

/// A matrix of 16-bit elements in shared memory, not swizzled, as bricks of 8 rows x 16 bytes: `along_k` and `along_n`
/// bytes from brick to brick. Adding n to it moves it by 16 * n bytes. Of an address a descriptor has room for 18 bits;
/// those above number the blocks of a cluster.
__device__ inline uint64_t describe(const void* matrix, uint32_t along_k, uint32_t along_n) {
  constexpr uint32_t kWithinBlock = 0x3FFFF;
  return uint64_t((shared_address(matrix) & kWithinBlock) >> 4) | uint64_t(along_k >> 4) << 16 |
         uint64_t(along_n >> 4) << 32;
}

/// Before the first product, and after registers that products use were touched by anything else.
__device__ inline void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ inline void product_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

#define SAT_FLOATS_8(x, i)                                                                                    \
  "+f"(x[i]), "+f"(x[i + 1]), "+f"(x[i + 2]), "+f"(x[i + 3]), "+f"(x[i + 4]), "+f"(x[i + 5]), "+f"(x[i + 6]), \
      "+f"(x[i + 7])
#define SAT_PRODUCT_64_128_16(type)                                                                                 \
  asm volatile(                                                                                                     \
      "{\n"                                                                                                         \
      ".reg .pred p;\n"                                                                                             \
      "setp.ne.b32 p, %69, 0;\n"                                                                                    \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                                                  \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
      "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "   \
      "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "       \
      "{%64, %65, %66, %67}, %68, p, 1, 1, 0;\n"                                                                    \
      "}"                                                                                                           \
      : SAT_FLOATS_8(sums, 0), SAT_FLOATS_8(sums, 8), SAT_FLOATS_8(sums, 16), SAT_FLOATS_8(sums, 24),               \
        SAT_FLOATS_8(sums, 32), SAT_FLOATS_8(sums, 40), SAT_FLOATS_8(sums, 48), SAT_FLOATS_8(sums, 56)              \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(keep)))

/// sums [64 x 128] (+)= a [64 x 16] * b [16 x 128], asynchronously. Warp w holds rows 16w to 16w + 15 of `a` and of the
/// sums: lane l rows l / 4 and 8 more, of the sums columns 8j + 2 * (l % 4) and the next at 4j, the lower row at 4j
/// + 2.
template <class T>
__device__ inline void product(float (&sums)[64], const uint32_t (&a)[4], uint64_t b, bool keep) {
  if constexpr (std::is_same_v<T, __half>) {
    SAT_PRODUCT_64_128_16("f16");
  } else {
    SAT_PRODUCT_64_128_16("bf16");
  }
}
#undef SAT_PRODUCT_64_128_16
#undef SAT_FLOATS_8

// ---- registers ------------------------------------------------------------------------------------------------------

/// Every warp of a warpgroup gives registers back, or takes them once they are free.
template <int kRegisters>
__device__ inline void keep_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace sat::cuda::hopper

#endif
