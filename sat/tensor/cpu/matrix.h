// Private: the layout of a matrix that the blocked products read.
#pragma once

#include "sat/tensor/tensor.h"

namespace sat::cpu {

/// panels [ceil(out / 16), in, 16] of the matrix whose element (o, i) is x[o * out_stride + i * in_stride], zeros
/// behind its last row.
void pack_panels(float* panels, const float* x, int64_t out, int64_t in, int64_t out_stride, int64_t in_stride);

/// The same of a tensor [out, in], threaded.
Tensor packed_panels(const Tensor& weight);

}  // namespace sat::cpu
