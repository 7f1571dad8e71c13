// Means of features under masks: knowledge pre-training's atlas tower, which runs on the CPU so far.
#include "sat/cuda/backend.h"

namespace sat::cuda {

namespace {
constexpr const char* kOnCpu = "masked_means: has no CUDA form yet; train knowledge on the CPU";
}

void CudaBackend::masked_means(Tensor& /*y*/, const Features& /*x*/, const Tensor& /*masks*/) { fail(kOnCpu); }

void CudaBackend::masked_means_gradient(Tensor& /*dx*/, bool /*add*/, const Tensor& /*dy*/, const Tensor& /*masks*/) {
  fail(kOnCpu);
}

}  // namespace sat::cuda
