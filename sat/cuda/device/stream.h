// Private: every kernel launch and every copy or fill with a pitch goes through here, under a name that profiles (NVTX)
// and errors show. In a dry run nothing is launched.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <tuple>
#include <utility>

#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat::cuda {

/// Throws Error that names `what` where a CUDA call failed.
void check(cudaError_t status, const char* what);

/// What kernels choose their form by.
struct DeviceLimits {
  int arch = 80;             // 10 * major + minor
  int processors = 1;        // multiprocessors
  int64_t shared_bytes = 0;  // most that a block may have
  bool wgmma_right = true;   // what wgmma_is_right() found
};

/// An order of work on one device.
struct Stream {
  cudaStream_t handle = nullptr;
  DeviceLimits limits;
  bool dry = false;         // nothing is launched
  bool check_each = false;  // waits after each launch, so that an error is reported by the kernel that caused it
};

/// How a kernel is started. `cluster`: blocks of a thread block cluster along x (sm_90), 1 for none.
struct Launch {
  const char* name;
  dim3 grid, block;
  int64_t shared = 0;  // bytes of dynamic shared memory
  int cluster = 1;
};

void launch_raw(const Stream& stream, const Launch& how, const void* kernel, void** arguments);

template <class... Params, class... Args>
void launch(const Stream& stream, const Launch& how, void (*kernel)(Params...), Args&&... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "one argument a parameter");
  if (stream.dry || how.grid.x == 0 || how.grid.y == 0 || how.grid.z == 0) return;
  std::tuple<Params...> values(std::forward<Args>(args)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
        launch_raw(stream, how, reinterpret_cast<const void*>(kernel), pointers);
      },
      values);
}

/// `count` runs of `run` bytes each. The next run begins `from_pitch` bytes further where they are read and `to_pitch`
/// bytes further where they are written; no pitch is less than `run`.
struct Runs {
  int64_t run, count, to_pitch, from_pitch;
};
/// How runs are copied: as one block of bytes where they touch, by one call of the CUDA runtime that takes pitches, or
/// by a call for each run where a pitch is above kMostPitch, which the runtime does not take.
enum class RunCalls : uint8_t { none, one_block, pitched, each };
inline constexpr int64_t kMostPitch = (int64_t(1) << 31) - 1;  // bytes
RunCalls calls_of(const Runs& runs);

/// Copies runs within the device, and fills them with zeros, where from_pitch does not matter.
void copy_runs(const Stream& stream, void* to, const void* from, const Runs& runs);
void zero_runs(const Stream& stream, void* to, Runs runs);

}  // namespace sat::cuda
