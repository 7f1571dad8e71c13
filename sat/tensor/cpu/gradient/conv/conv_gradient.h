// Private: gradients of the 3x3x3 convolution with padding 1 and stride 1 or 2, on the CPU. docs/kernels.md says how
// they are made fast. The same bits for any number of threads.
#pragma once

#include <cstdint>

#include "sat/tensor/ops.h"

namespace sat::cpu {

struct AmxLoops;  // amx/matrix_piece.h

/// With respect to the input: dx[v, i] = sum over taps t and outputs o of weight[o, first_in + i, t] * dy[(v - t + 1) /
/// stride, o], where that is whole and inside.
///   dx [B, H, W, D, channels] f32: written, or added to where `add`
///   dy [B, H', W', D', out] f32, H' = ceil(H / stride); weight [out, in, 3, 3, 3] f32, as published, on the CPU
///   tiles: matrix units, where the context has them; `fast` precision takes them, operands rounded to bf16, for stride
///   1 where voxels are many
/// Work: that of the convolution. Extra memory: the weight as the method reads it; on tiles 12 planes where `add`.
void conv3d_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight, int64_t first_in,
                           int64_t stride, const AmxLoops* tiles = nullptr);

/// With respect to the weight: dw[o, first_in + i, t] = sum over voxels v of x[stride * v + t - 1, i] * dy[v, o].
///   dw [out, in, 3, 3, 3] f32: its inputs from first_in on are written, or added to where `add`; x [B, H, W, D,
///   channels], whose pending norm is taken; dy [B, H', W', D', out] f32
/// Work: that of the convolution. Extra memory: sums of each thread, and partial sums of up to 64 MB.
void conv3d_weight_gradient(Tensor& dw, int64_t first_in, const Features& x, const Tensor& dy, int64_t stride,
                            bool add = true);

}  // namespace sat::cpu
