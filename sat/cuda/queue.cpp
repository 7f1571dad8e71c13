// Launching by name.
#include "sat/cuda/queue.h"

#include <nvtx3/nvToolsExt.h>

namespace sat::cuda {

namespace {

constexpr int64_t kSharedByDefault = 48 << 10;  // more has to be asked for

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();
  SAT_CHECK(status != cudaErrorMemoryAllocation, what, ": the device is out of memory");
  fail(what, ": ", cudaGetErrorName(status), ": ", cudaGetErrorString(status));
}

void launch_raw(const Queue& queue, const Launch& how, const void* kernel, void** arguments) {
  SAT_CHECK(how.shared <= queue.limits.shared_bytes, how.name, " needs ", how.shared,
            " bytes of shared memory a block, this device has ", queue.limits.shared_bytes);
  if (how.shared > kSharedByDefault) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(how.shared)), how.name);
  }
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = unsigned(how.cluster);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = size_t(how.shared);
  config.stream = queue.stream;
  config.attrs = &cluster;
  config.numAttrs = how.cluster > 1 ? 1 : 0;
  nvtxRangePushA(how.name);
  const cudaError_t status = cudaLaunchKernelExC(&config, kernel, arguments);
  nvtxRangePop();
  check(status, how.name);
  if (queue.check_each) check(cudaStreamSynchronize(queue.stream), how.name);
}

}  // namespace sat::cuda
