// Private: the gradient of a convolution's input by vectors. It is a convolution of the outputs' gradient by the
// mirrored kernel, outputs and inputs exchanged; stride 2 goes backwards. The weight is read as published: what a
// method needs of it lives for one call, or in the cache.
#pragma once

#include "sat/tensor/cpu/gradient/conv/gradient_job.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

struct AmxConvLoops;  // amx/conv/piece.h

struct InputGradient {
  float* dx;
  bool add;
  const float *dy, *weight;
  const GradientShape& shape;
};

/// By the forward pass's engine, item by item; of stride 1, or stride2_back.
void winograd_input_gradient(const InputGradient& job, WinogradKind kind);

/// The same sums where voxels are few and weights are many: all tiles at once, for some inputs at a time, whose weights
/// are transformed when their turn comes and never reach memory.
void whole_input_gradient(const InputGradient& job, WinogradKind kind);
int64_t whole_bytes(const GradientShape& shape, WinogradKind kind);  // of the transformed tiles

/// By the forward pass's engine on matrix units, stride 1.
void amx_input_gradient(const InputGradient& job, const AmxConvLoops& loops);

/// A matrix product a tap, whose rows are added to the inputs that the tap reads. Any stride and channels.
void direct_input_gradient(const InputGradient& job, const Simd& simd);

/// to [27, tap_step]: output o's mirrored taps for 16 inputs from `input` on, zero behind the last one.
void turn_taps(float* to, int64_t tap_step, const InputGradient& job, int64_t o, int64_t input);

}  // namespace sat::cpu
