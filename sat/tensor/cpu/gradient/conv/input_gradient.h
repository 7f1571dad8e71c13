// Private: the gradient of a convolution's input by vectors. It is a convolution of the outputs' gradient by the
// mirrored kernel, outputs and inputs exchanged; stride 2 goes backwards.
#pragma once

#include "sat/tensor/cpu/gradient/conv/gradient_job.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

/// By the forward pass's engine, at any kind of stride 1, or stride2_back.
void winograd_input_gradient(Tensor& dx, bool add, const float* dy, const float* weight, const GradientShape& shape,
                             WinogradKind kind);

/// A matrix product a tap, whose rows are added to the inputs that the tap read. Any stride and channels.
void direct_input_gradient(Tensor& dx, bool add, const float* dy, const float* weight, const GradientShape& shape,
                           const Simd& simd);

}  // namespace sat::cpu
