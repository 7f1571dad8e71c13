// Private: what cuDNN's convolution needs of us, as it takes neither a pending norm, nor two inputs, nor our weights.
#pragma once

#include "sat/cuda/kernels.h"

namespace sat::cuda {

/// y [H, W, D, in] = the final values of both inputs, joined, in their type.
void join_inputs(const Stream& stream, void* y, const Conv& conv);
/// y [out, 27, in] = the weights, in their type.
void turn_weights(const Stream& stream, void* y, const Conv& conv);
/// The partials of planes [first, last), one a row of voxels, from the stored values.
void count_rows(const Stream& stream, const Conv& conv);

}  // namespace sat::cuda
