// Private. How the gradient of an op's result becomes the gradients of its inputs: what ops/ records on a tape.
// A gradient is written in the words of ops.h and, where those do not reach, in the backend's words for gradients.
#pragma once

#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/ops.h"

namespace sat {

/// relu: the result, where a relu follows the sum; else empty.
Tape::Backward linear_gradient(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& relu);
Tape::Backward activation_gradient(const Tensor& x, Activation act);
Tape::Backward product_transposed_gradient(const Tensor& a, const Tensor& b);

Tape::Backward attention_gradient(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                                  const Segments& segments, const Tensor& bias, const Dropout& dropped);
Tape::Backward attention_bias_gradient(const Tensor& table, const std::vector<int64_t>& buckets,
                                       const std::vector<int64_t>& first);
Tape::Backward layer_norm_gradient(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps);

/// Of the same elements in another shape, or on another device.
Tape::Backward same_elements_gradient(const Tensor& x);
Tape::Backward transpose_gradient(const Tensor& x);
Tape::Backward slice_gradient(const Tensor& x, int64_t first);
Tape::Backward add_gradient(const Tensor& a, const Tensor& b);
Tape::Backward multiply_gradient(const Tensor& a, const Tensor& b);
Tape::Backward concat_gradient(const std::vector<Tensor>& parts);
Tape::Backward gather_gradient(const Tensor& table, const std::vector<int64_t>& ids);
Tape::Backward mean_of_rows_gradient(const Tensor& x, const std::vector<int64_t>& first,
                                     const std::vector<uint8_t>& counted);
Tape::Backward dropout_gradient(const Tensor& x, const Dropout& dropped);
Tape::Backward normalize_rows_gradient(const Tensor& x);
Tape::Backward scale_by_exp_gradient(const Tensor& x, const Tensor& t);

Tape::Backward split_patches_gradient(const Tensor& x, int64_t p);
Tape::Backward join_patches_gradient(const Tensor& x, int64_t p);
Tape::Backward resample_gradient(const Tensor& x, int axis, const AxisTaps& taps);
Tape::Backward max_pool2d_gradient(const Tensor& x, int64_t k);

Tape::Backward instance_norm_gradient(const Tensor& x, const Features& y, const NormWeights& norm);
Tape::Backward sum_features_gradient(const Tensor& a, const Tensor& b, const Tensor& y, float slope);
Tape::Backward conv3d_gradient(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv3dOptions& options);
Tape::Backward conv_transpose3d_gradient(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tape::Backward conv3d_norm_gradient(const Features& x, const ConvBlockWeight& weight, const NormWeights& norm,
                                    const Features& y);
Tape::Backward conv3d_norm_up_gradient(const Features& low, const Features& skip, const UpBlockWeight& weight,
                                       const NormWeights& norm, const Features& y);
Tape::Backward avg_pool3d_gradient(const Features& x, int64_t k);
/// dlogits: of the loss, which was found with it.
Tape::Backward cross_entropy_gradient(const Tensor& logits, const Tensor& dlogits);
Tape::Backward masked_means_gradient(const Tensor& x, const Tensor& masks);
Tape::Backward mask_loss_gradient(const Features& features, const Tensor& masks, const MaskTargets& targets,
                                  const Tensor& factors);

}  // namespace sat
