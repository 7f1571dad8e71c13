// Private: the one door through which everything reaches the device: launches, copies and fills, each by name.
// So a kernel has its name in a profile (NVTX) and in an error. Nothing is launched in a rehearsal.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <tuple>
#include <utility>

#include "sat/tensor/error.h"

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
struct Queue {
  cudaStream_t stream = nullptr;
  DeviceLimits limits;
  bool dry = false;         // a rehearsal: nothing is launched
  bool check_each = false;  // waits after each launch, so that an error is reported by the kernel that caused it
};

/// How a kernel is started. `cluster`: blocks of a thread block cluster along x (sm_90), 1 for none.
struct Launch {
  const char* name;
  dim3 grid, block;
  int64_t shared = 0;  // bytes of dynamic shared memory
  int cluster = 1;
};

void launch_raw(const Queue& queue, const Launch& how, const void* kernel, void** arguments);

template <class... Params, class... Args>
void launch(const Queue& queue, const Launch& how, void (*kernel)(Params...), Args&&... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "one argument a parameter");
  if (queue.dry || how.grid.x == 0 || how.grid.y == 0 || how.grid.z == 0) return;
  std::tuple<Params...> values(std::forward<Args>(args)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
        launch_raw(queue, how, reinterpret_cast<const void*>(kernel), pointers);
      },
      values);
}

/// `count` runs of `run` bytes each, `to_pitch` and `from_pitch` bytes from one to the next, at least `run`.
struct Runs {
  int64_t run, count, to_pitch, from_pitch;
};
/// How they travel: as one block of bytes, by one call of the runtime with pitches, or by a call each, since no call of
/// the runtime takes a pitch above kMostPitch.
enum class RunCalls : uint8_t { none, one_block, pitched, each };
inline constexpr int64_t kMostPitch = (int64_t(1) << 31) - 1;  // bytes
RunCalls calls_of(const Runs& runs);

/// Copies within the device, and zeros there (from_pitch does not matter). Every copy with a pitch goes through these.
void copy_runs(const Queue& queue, void* to, const void* from, const Runs& runs);
void zero_runs(const Queue& queue, void* to, Runs runs);

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace sat::cuda
