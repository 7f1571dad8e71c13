// A build without cuDNN: that variant refuses every convolution.
#include "sat/cuda/kernels.h"

namespace sat::cuda {

std::string conv3d_cudnn_refusal(const Conv&, const DeviceLimits&) { return "this build has no cuDNN"; }

int64_t conv3d_cudnn_workspace(const Conv& conv, const DeviceLimits& limits) {
  fail("conv3d by cudnn: ", conv3d_cudnn_refusal(conv, limits));
}

void conv3d_cudnn(const Stream& stream, const Conv& conv) {
  fail("conv3d by cudnn: ", conv3d_cudnn_refusal(conv, stream.limits));
}

}  // namespace sat::cuda
