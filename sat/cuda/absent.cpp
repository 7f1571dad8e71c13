// The door of the CUDA backend in a build without it.
#include "sat/cuda/device.h"

#include "sat/tensor/error.h"

namespace sat::cuda {

bool built() { return false; }

std::vector<DeviceInfo> devices() { return {}; }

std::shared_ptr<Accelerator> open_device(const DeviceOptions&) {
  fail("this build has no CUDA; configure with -DSAT_CUDA=ON, or compute on the CPU");
}

}  // namespace sat::cuda
