// Launching by name, and copies of runs of bytes.
#include "sat/cuda/device/stream.h"

#include <nvtx3/nvToolsExt.h>

#include <algorithm>

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

void launch_raw(const Stream& stream, const Launch& how, const void* kernel, void** arguments) {
  SAT_CHECK(how.shared <= stream.limits.shared_bytes, how.name, " needs ", how.shared,
            " bytes of shared memory a block, this device has ", stream.limits.shared_bytes);
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
  config.stream = stream.handle;
  config.attrs = &cluster;
  config.numAttrs = how.cluster > 1 ? 1 : 0;
  nvtxRangePushA(how.name);
  const cudaError_t status = cudaLaunchKernelExC(&config, kernel, arguments);
  nvtxRangePop();
  check(status, how.name);
  if (stream.check_each) check(cudaStreamSynchronize(stream.handle), how.name);
}

RunCalls calls_of(const Runs& runs) {
  const int64_t widest = std::max(runs.to_pitch, runs.from_pitch);
  if (runs.run <= 0 || runs.count <= 0) return RunCalls::none;
  const bool joined = runs.to_pitch == runs.run && runs.from_pitch == runs.run;
  if (runs.count == 1 || joined) return RunCalls::one_block;
  SAT_CHECK(std::min(runs.to_pitch, runs.from_pitch) >= runs.run, "runs of ", runs.run, " bytes lie ", runs.to_pitch,
            " and ", runs.from_pitch, " bytes apart and overlap");
  return widest <= kMostPitch ? RunCalls::pitched : RunCalls::each;
}

void copy_runs(const Stream& stream, void* to, const void* from, const Runs& runs) {
  if (stream.dry) return;
  const auto block = [&](int64_t i, int64_t bytes) {
    check(cudaMemcpyAsync(static_cast<char*>(to) + i * runs.to_pitch,
                          static_cast<const char*>(from) + i * runs.from_pitch, size_t(bytes), cudaMemcpyDeviceToDevice,
                          stream.handle),
          "copy_runs");
  };
  switch (calls_of(runs)) {
    case RunCalls::none: return;
    case RunCalls::one_block: return block(0, runs.run * runs.count);
    case RunCalls::pitched:
      return check(cudaMemcpy2DAsync(to, size_t(runs.to_pitch), from, size_t(runs.from_pitch), size_t(runs.run),
                                     size_t(runs.count), cudaMemcpyDeviceToDevice, stream.handle),
                   "copy_runs");
    case RunCalls::each:
      for (int64_t i = 0; i < runs.count; ++i) block(i, runs.run);
  }
}

void zero_runs(const Stream& stream, void* to, Runs runs) {
  if (stream.dry) return;
  runs.from_pitch = runs.to_pitch;
  const auto block = [&](int64_t i, int64_t bytes) {
    check(cudaMemsetAsync(static_cast<char*>(to) + i * runs.to_pitch, 0, size_t(bytes), stream.handle), "zero_runs");
  };
  switch (calls_of(runs)) {
    case RunCalls::none: return;
    case RunCalls::one_block: return block(0, runs.run * runs.count);
    case RunCalls::pitched:
      return check(cudaMemset2DAsync(to, size_t(runs.to_pitch), 0, size_t(runs.run), size_t(runs.count), stream.handle),
                   "zero_runs");
    case RunCalls::each:
      for (int64_t i = 0; i < runs.count; ++i) block(i, runs.run);
  }
}

}  // namespace sat::cuda
