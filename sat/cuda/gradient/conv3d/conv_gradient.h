// Private: the kernels of a convolution's gradients, which input.cpp and weight.cpp queue.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "sat/cuda/kernels.h"

namespace sat::cuda {

// ---- the input's ----------------------------------------------------------------------------------------------------

/// The taps along one axis that reach voxels first, first + stride, ... of the input, in the order in which a
/// convolution of the gradient reads them: tap `last`, last - stride, ..., with this padding. None: the gradient is 0.
struct AxisTapsOfPhase {
  int64_t first, voxels;  // of the input along this axis, and how many they are
  int64_t taps, last, padding;
};
AxisTapsOfPhase taps_of_phase(int64_t phase, int64_t in, int64_t kernel, int64_t stride, int64_t padding);

/// A weight [out, of_in, kh, kw, kd] as the convolution of the gradient wants it: its inputs [first_in, first_in + in)
/// as outputs, mirrored. f32 [taps][out][in]; a half type [taps][pad16(in)][pad16(out)], filled with zeros.
struct MirroredWeight {
  const float* weight;
  int64_t out, of_in, first_in, in;
  std::array<int64_t, 3> kernel, taps, last, stride;  // of the whole kernel; of the taps that are taken
};
void mirror_weight(const Stream& stream, void* panels, DType type, const MirroredWeight& mirrored);

/// Voxel u of a part [B, part, C] is voxel first + step * u of the whole [B, size, C].
struct Placing {
  int64_t batch, channels;
  std::array<int64_t, 3> part, size, first, step;
};
/// whole (add: +) = part, or zeros where that is null.
void place(const Stream& stream, float* whole, const float* part, bool add, const Placing& placing);

// ---- the weight's ---------------------------------------------------------------------------------------------------

/// Sums over the voxels of one sample, in pieces: parts [pieces][out][in * taps], taps fastest.
struct WeightGradient {
  std::array<int64_t, 3> in_size, out_size, kernel, stride, padding;
  ConvInput x;     // of any type, with or without a norm; for tensor cores final values in bf16
  const void* dy;  // [H', W', D', out] f32; for tensor cores bf16
  float* parts;
  int64_t out, pieces;
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};
/// On the f32 units, any convolution.
void weight_gradient_tiled(const Stream& stream, const WeightGradient& gradient);
/// On tensor cores. "" or why it cannot.
std::string weight_gradient_mma_refusal(const WeightGradient& gradient);
void weight_gradient_mma(const Stream& stream, const WeightGradient& gradient);

/// Final values in bf16, `count` of them.
void round_features(const Stream& stream, void* to, const ConvInput& x, int64_t count);

}  // namespace sat::cuda
