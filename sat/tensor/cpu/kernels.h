// The list of kernels behind ops.h. Raw pointers and sizes: the ops have checked everything.
// Private: not installed. Each kernel runs in the form that the current context's CPU level names, `plain` being the
// readable reference that the others are tested against.
#pragma once

#include <array>
#include <cstdint>

#include "sat/tensor/cpu/feature_reader.h"
#include "sat/tensor/cpu/moments.h"
#include "sat/tensor/cpu/vector/simd.h"
#include "sat/tensor/ops.h"

namespace sat::cpu {

class FeatureReader;  // feature_reader.h

/// y [rows, out] = act(x [rows, in] * panels + bias); bias null for none.
void linear(float* y, const float* x, const float* panels, const float* bias, int64_t rows, int64_t in, int64_t out,
            Activation act);

void attention(float* y, const float* q, const float* k, const float* v, const float* bias, int64_t queries,
               int64_t tokens, int64_t channels, int64_t heads);

/// One convolution's sizes: input grid, output grid and channels of the (up to two) inputs.
struct ConvShape {
  int64_t batch;
  std::array<int64_t, 3> in_size, out_size;
  int64_t in0, in1, out;  // channels; in1 = 0 for one input
  int64_t kernel, stride, padding;
};
void conv3d(float* y, const float* x0, const float* x1, const float* panels, const float* bias, const ConvShape& shape);

/// Results as another reader wants them: f32 or f16, and their statistics.
struct ConvResult {
  void* values;
  DType dtype;
  Moments* statistics;  // [batch, out]: set
};
void conv3d_counted(const ConvResult& y, const float* x0, const float* x1, const float* panels, const ConvShape& shape);

/// x [batch * H * W * D, in] -> y [batch, 2H, 2W, 2D, out]; panels of 8 * out outputs.
void conv_transpose3d(float* y, const float* x, const float* panels, const float* bias, int64_t batch,
                      std::array<int64_t, 3> size, int64_t in, int64_t out);

void layer_norm(float* y, const float* x, const float* gain, const float* bias, int64_t rows, int64_t channels,
                float eps);

/// y may be x.
void instance_norm_leaky_relu(float* y, const float* x, const float* gain, const float* bias, int64_t batch,
                              int64_t voxels, int64_t channels, float eps, float slope);

/// One sample.
void avg_pool3d(float* y, const FeatureReader& x, std::array<int64_t, 3> out_size, int64_t k);

/// Sizes of the arrays that ScoreRegion points into.
struct ScoreSizes {
  std::array<int64_t, 3> scores, features, importance;
  int64_t channels, prompts;
};
void accumulate_mask_scores(float* scores, const FeatureReader& features, const float* mask_panels,
                            const float* importance, const ScoreSizes& sizes, const ScoreRegion& region);

// ---- vector forms: what the kernels above run when the CPU level is not plain --------------------------------------

void simd_linear(const Simd& simd, float* y, const float* x, const float* panels, const float* bias, int64_t rows,
                 int64_t in, int64_t out, Activation act);
void simd_attention(const Simd& simd, float* y, const float* q, const float* k, const float* v, const float* bias,
                    int64_t queries, int64_t tokens, int64_t channels, int64_t heads);
void simd_conv3d(const Simd& simd, float* y, const float* x0, const float* x1, const float* panels, const float* bias,
                 const ConvShape& shape);
void simd_conv3d_counted(const Simd& simd, const ConvResult& y, const float* x0, const float* x1, const float* panels,
                         const ConvShape& shape);
void simd_conv_transpose3d(const Simd& simd, float* y, const float* x, const float* panels, const float* bias,
                           int64_t batch, std::array<int64_t, 3> size, int64_t in, int64_t out);
void simd_layer_norm(const Simd& simd, float* y, const float* x, const float* gain, const float* bias, int64_t rows,
                     int64_t channels, float eps);
void simd_instance_norm_leaky_relu(const Simd& simd, float* y, const float* x, const float* gain, const float* bias,
                                   int64_t batch, int64_t voxels, int64_t channels, float eps, float slope);
void simd_accumulate_mask_scores(const Simd& simd, float* scores, const FeatureReader& features,
                                 const float* mask_panels, const float* importance, const ScoreSizes& sizes,
                                 const ScoreRegion& region);

}  // namespace sat::cpu
