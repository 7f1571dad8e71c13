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

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace sat::cuda
