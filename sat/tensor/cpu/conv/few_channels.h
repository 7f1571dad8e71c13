// Private: convolutions of up to four input channels, images that is, by vectors. A tap is too short for a tile there,
// so all taps of a kernel's line are one: where the inputs lie with zeros around them, they follow each other in
// memory.
#pragma once

#include "sat/tensor/cpu/conv/conv.h"
#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu {

bool has_few_channels(const ConvShape& shape);

/// y = the convolution plus `bias`, where that is not null; counted where y.statistics is not null. Any kernel, stride
/// and padding. Extra memory: a strip of the input a thread, and 24 bytes an output channel and piece of the work.
void few_channels_conv3d(const Simd& simd, const ConvResult& y, const float* x0, const float* x1, const float* panels,
                         const float* bias, const ConvShape& shape);

}  // namespace sat::cpu
