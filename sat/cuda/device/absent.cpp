// What stands in for the CUDA backend in a build without it.
#include "sat/cuda/device/device.h"

#include "sat/tensor/error.h"

namespace sat::cuda {

bool built() { return false; }

std::vector<DeviceInfo> devices() { return {}; }

namespace {

[[noreturn]] void refuse() { fail("this build has no CUDA; configure with -DSAT_CUDA=ON, or compute on the CPU"); }

}  // namespace

DeviceHandle open_device(const DeviceOptions&) { refuse(); }

std::vector<std::string> remarks(const DeviceOptions&) { refuse(); }

DeviceHandle virtual_device(const DeviceOptions&) { refuse(); }

std::string conv_refusal(const DeviceOptions&, Precision, const ConvSizes&) { refuse(); }

std::string attention_refusal(const DeviceOptions&, Precision, int64_t, int64_t, int64_t) { refuse(); }

}  // namespace sat::cuda
