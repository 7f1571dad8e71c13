// Private: the gradient of a convolution's weight by vectors: how its work is cut, and the engines that sum a part of
// it.
//
// Channels are cut into blocks whose sums the caches hold, voxels into pieces, both by the sizes alone. A part is a
// block in a piece; the pieces' sums are added up in their order, so threads have no say in the result.
#pragma once

#include <functional>
#include <vector>

#include "sat/tensor/cpu/gradient/conv/gradient_job.h"
#include "sat/tensor/cpu/gradient/conv/outer_product.h"
#include "sat/tensor/cpu/winograd/winograd.h"

namespace sat::cpu {

struct WeightGradient {
  float* dw;
  bool add;
  const Features& x;
  const float* dy;
  const GradientShape& shape;
};

constexpr int64_t kGradientBlock = 64;  // most outputs of a part, whose row of sums is one register tile wide

/// A part: some inputs and outputs, counted from shape.first_in and 0, in items [first, last) of the engine.
struct GradientPart {
  int64_t input, inputs, output, outputs;  // as many as there are
  int64_t in, out;                         // the same, padded to whole panels of 16
  int64_t tap;                             // floats of the sums from one tap to the next
  int64_t first, last;
};

/// How an engine wants to be called.
struct PartSizes {
  int64_t items;    // of the voxels of the whole batch
  int64_t a_piece;  // at least this many of them
  int64_t in;       // most inputs of a part, a multiple of 16
  int64_t room;     // floats that a part works in, its sums not counted
};

/// Adds to sums, which are zero: input i and output o of tap t at sums[t * part.tap + i * part.out + o].
using SumPart = std::function<void(float* sums, float* room, const GradientPart& part)>;
void sum_parts(const WeightGradient& job, const PartSizes& sizes, const SumPart& sum);

/// Images, whose taps are the rows of a product. Stride 1, up to 4 channels.
bool has_few_channels(const GradientShape& shape);
void few_channels_weight_gradient(const WeightGradient& job, const Simd& simd);

/// The definition as 27 matrix products of shifted voxels. Any stride and channels.
void direct_weight_gradient(const WeightGradient& job, OuterProduct outer);

/// By Winograd's sums, of the kind that a forward pass would take. Stride 1, or 2 where the kind is of stride 2.
void winograd_weight_gradient(const WeightGradient& job, WinogradKind kind);

}  // namespace sat::cpu
