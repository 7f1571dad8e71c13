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

struct AmxLoops;  // amx/matrix_piece.h

/// The same of a 3x3x3 kernel with padding 1 on matrix units (AMX): operands rounded to bf16, products summed in f32.
bool few_channels_on_tiles(int64_t in, int64_t stride);
/// weight [out, in, 3, 3, 3] -> bf16 [blocks of 32 outputs][steps][2 x 16 outputs][16 pairs of taps][16 outputs x 2].
Tensor pack_few_channels(const Tensor& weight);
/// Without a bias, counted. Extra memory: the strip in f32 and bf16, and 20 bytes a step and voxel of a line, a thread.
void few_channels_conv3d(const AmxLoops& tiles, const ConvResult& y, const float* x, const Tensor& panels,
                         const ConvShape& shape);

}  // namespace sat::cpu
