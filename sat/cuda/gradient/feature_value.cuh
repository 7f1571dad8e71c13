// Private: one value of a feature volume, of whatever type it is held in, for kernels that wait for memory.
#pragma once

#include "sat/cuda/device/half_types.cuh"

namespace sat::cuda {

/// Element i as it is held. All threads take one branch.
__device__ inline float raw_value(const ConvInput& x, int64_t i) {
  if (x.dtype == DType::f32) return static_cast<const float*>(x.values)[i];
  if (x.dtype == DType::f16) return __half2float(static_cast<const __half*>(x.values)[i]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(x.values)[i]);
}

}  // namespace sat::cuda
