// Private: what cuDNN's convolution needs of us, as it takes neither a pending norm, nor two inputs, nor our weights.
#pragma once

#include "sat/cuda/kernels.h"

namespace sat::cuda {

/// y [H, W, D, in] = the final values of both inputs, joined, in their type.
void join_inputs(const Queue& queue, void* y, const Conv& conv);
/// y [out, 27, in] = the weights, in their type.
void turn_weights(const Queue& queue, void* y, const Conv& conv);
/// The slots of planes [first, last), one a row of voxels, from the stored values.
void count_rows(const Queue& queue, const Conv& conv);

}  // namespace sat::cuda
