// Private: what a device must be able to do for the words of ops.h: one interface, which cpu/ and sat/cuda implement.
// The ops have checked shapes, types and devices and have allocated the results; a backend computes them, and chooses
// its kernels. Contracts are in ops.h.
#pragma once

#include <memory>

#include "sat/tensor/context.h"
#include "sat/tensor/device/runtime.h"
#include "sat/tensor/ops.h"

namespace sat {

/// What the gradients of ops are made of. `d` before a name: the gradient with respect to it. A gradient is written,
/// and where the comment says so added to; a `d` that is empty is not wanted.
#define SAT_BACKEND_GRADIENTS(...)                                                                                   \
  /* y [N, C, R] of x [N, R, C] */                                                                                   \
  virtual void transpose(Tensor& y, const Tensor& x) __VA_ARGS__;                                                    \
  /* y [C]: the sums of x's columns, x [R, C] */                                                                     \
  virtual void sum_rows(Tensor& y, const Tensor& x) __VA_ARGS__;                                                     \
  /* y [M, N] = a^T b, a [R, M], b [R, N] */                                                                         \
  virtual void product_of_columns(Tensor& y, const Tensor& a, const Tensor& b) __VA_ARGS__;                          \
  virtual void multiply(Tensor& y, const Tensor& a, const Tensor& b) __VA_ARGS__;                                    \
  /* dx = dy * act'(x); dx may be dy */                                                                              \
  virtual void activation_gradient(Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) __VA_ARGS__;       \
  virtual void layer_norm_gradient(Tensor& dx, Tensor& dgain, Tensor& dbias, const Tensor& dy, const Tensor& x,      \
                                   const Tensor& gain, float eps) __VA_ARGS__;                                       \
  virtual void attention_gradient(Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias, const Tensor& dy,               \
                                  const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,                  \
                                  const Segments& segments, const Tensor& bias, const Dropout& dropped) __VA_ARGS__; \
  virtual void attention_bias_gradient(Tensor& dtable, const Tensor& dy, const std::vector<int64_t>& buckets,        \
                                       const std::vector<int64_t>& first) __VA_ARGS__;                               \
  /* table[ids[i]] += rows[i], in the order of i; id -1 goes nowhere */                                              \
  virtual void scatter_rows(Tensor& table, const Tensor& rows, const std::vector<int64_t>& ids) __VA_ARGS__;         \
  virtual void mean_of_rows_gradient(Tensor& dx, const Tensor& dy, const std::vector<int64_t>& first,                \
                                     const std::vector<uint8_t>& counted) __VA_ARGS__;                               \
  virtual void dropout(Tensor& y, const Tensor& x, const Dropout& dropped) __VA_ARGS__;                              \
  /* attention() with dropped.rate > 0 */                                                                            \
  virtual void attention_with_dropout(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,   \
                                      const Segments& segments, const Tensor& bias, const Dropout& dropped)          \
      __VA_ARGS__;                                                                                                   \
  /* y = x / |x| of each row, and with `dy` dx; the lengths are made again */                                        \
  virtual void normalize_rows(Tensor& y, const Tensor& x) __VA_ARGS__;                                               \
  virtual void normalize_rows_gradient(Tensor& dx, const Tensor& dy, const Tensor& x) __VA_ARGS__;                   \
  virtual void scale_by_exp(Tensor& y, const Tensor& x, const Tensor& t) __VA_ARGS__;                                \
  /* loss [1], and dlogits of it, where it is not empty */                                                           \
  virtual void cross_entropy(Tensor& loss, Tensor& dlogits, const Tensor& logits, const Tensor& targets,             \
                             const Tensor& weights, const Tensor& excluded) __VA_ARGS__;                             \
  /* `d` holds the gradient of y's final values, and then that of the raw ones */                                    \
  virtual void norm_gradient(Tensor& d, Tensor& dgain, Tensor& dbias, const Features& y, const NormWeights& norm)    \
      __VA_ARGS__;                                                                                                   \
  /* of leaky_relu whose result is y; dx may be dy */                                                                \
  virtual void leaky_relu_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, float slope) __VA_ARGS__;          \
  /* dx: the weight's inputs from first_in on, added to where `add`; weight [out, in, kh, kw, kd] as published */    \
  virtual void conv3d_input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight,                   \
                                     const Conv3dOptions& options, int64_t first_in) __VA_ARGS__;                    \
  /* dw [out, in, kh, kw, kd]: its inputs from first_in on, as many as x has, are written */                         \
  virtual void conv3d_weight_gradient(Tensor& dw, const Features& x, const Tensor& dy, const Conv3dOptions& options, \
                                      int64_t first_in) __VA_ARGS__;                                                 \
  /* y [B, h, w, d, 8 C] of x [B, 2h, 2w, 2d, C]: blocks of 2 x 2 x 2 voxels */                                      \
  virtual void split_blocks(Tensor& y, const Tensor& x) __VA_ARGS__;                                                 \
  virtual void avg_pool3d_gradient(Tensor& dx, bool add, const Tensor& dy, int64_t k) __VA_ARGS__;                   \
  virtual void max_pool2d_gradient(Tensor& dx, const Tensor& dy, const Tensor& x, int64_t k) __VA_ARGS__;            \
  virtual void resample_gradient(Tensor& dx, const Tensor& dy, int axis, const AxisTaps& taps) __VA_ARGS__;          \
  virtual void masked_means(Tensor& y, const Features& x, const Tensor& masks) __VA_ARGS__;                          \
  virtual void masked_means_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& masks) __VA_ARGS__;       \
  /* of each sample and prompt, in that order: sums of p t, p^2, t and the cross-entropy, over voxels */             \
  virtual std::vector<std::array<double, 4>> mask_sums(const Features& features, const Tensor& masks,                \
                                                       const Tensor& bits) __VA_ARGS__;                              \
  /* with dl/dlogit = p (1 - p) (k0 t + k1 p) + k2 (p - t), k = factors [B, N, 3]; dfeatures added to where `add` */ \
  virtual void mask_gradient(Tensor& dfeatures, bool add, Tensor& dmasks, const Features& features,                  \
                             const Tensor& masks, const Tensor& bits, const Tensor& factors) __VA_ARGS__

/// Every op of a backend, declared once for the interface (`= 0`) and for those who implement it (`override`).
/// A row added here asks for a body in each backend. Outputs come first; where a Features or a Tensor is returned, the
/// backend decides where it lies.
#define SAT_BACKEND_OPS(...)                                                                                          \
  /* matrices */                                                                                                      \
  virtual PackedMatrix pack_linear(const Tensor& weight, const DenseSite& site) __VA_ARGS__;                          \
  virtual void linear(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act)     \
      __VA_ARGS__;                                                                                                    \
  virtual void linear_add(Tensor& y, const Tensor& residual, const Tensor& x, const PackedMatrix& weight,             \
                          const Tensor& bias, const Tensor& scale) __VA_ARGS__;                                       \
  virtual void product_transposed(Tensor& y, const Tensor& a, const Tensor& b) __VA_ARGS__;                           \
  virtual void attention(Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,                 \
                         const Segments& segments, const Tensor& bias) __VA_ARGS__;                                   \
  virtual void attention_bias(Tensor& y, const Tensor& table, const std::vector<int64_t>& buckets,                    \
                              const std::vector<int64_t>& first, const std::vector<uint8_t>& attended) __VA_ARGS__;   \
  virtual void attention_map(Tensor& y, const Tensor& q, const Tensor& k, int64_t heads) __VA_ARGS__;                 \
  virtual void gather_rows(Tensor& y, const Tensor& table, const std::vector<int64_t>& ids) __VA_ARGS__;              \
  virtual void mean_of_rows(Tensor& y, const Tensor& x, const std::vector<int64_t>& first,                            \
                            const std::vector<uint8_t>& counted) __VA_ARGS__;                                         \
  /* pointwise and norms */                                                                                           \
  virtual void add(Tensor& y, const Tensor& a, const Tensor& b) __VA_ARGS__;                                          \
  virtual void gelu(Tensor& y, const Tensor& x) __VA_ARGS__;                                                          \
  virtual void layer_norm(Tensor& y, const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) __VA_ARGS__; \
  /* convolutions */                                                                                                  \
  virtual PackedConv3d pack_conv3d(const Tensor& weight) __VA_ARGS__;                                                 \
  virtual void conv3d(Tensor& y, const Tensor& x, const PackedConv3d& weight, const Tensor& bias,                     \
                      const Conv3dOptions& options) __VA_ARGS__;                                                      \
  virtual PackedMatrix pack_conv_transpose3d(const Tensor& weight) __VA_ARGS__;                                       \
  virtual void conv_transpose3d(Tensor& y, const Tensor& x, const PackedMatrix& weight, const Tensor& bias)           \
      __VA_ARGS__;                                                                                                    \
  virtual ConvChoice choose_conv(const ConvSite& site, const ConvChannels& channels) const __VA_ARGS__;               \
  virtual ConvBlockWeight pack_conv_block(const Tensor& weight, const ConvSite& site) __VA_ARGS__;                    \
  virtual UpBlockWeight pack_up_block(const Tensor& weight, const Tensor& up, const Tensor& up_bias,                  \
                                      const ConvSite& site) __VA_ARGS__;                                              \
  virtual Features conv3d_norm(Features x, const ConvBlockWeight& weight, const NormWeights& norm) __VA_ARGS__;       \
  virtual Features conv3d_norm_up(Features low, Features skip, const UpBlockWeight& weight, const NormWeights& norm)  \
      __VA_ARGS__;                                                                                                    \
  virtual Tensor materialize(Features x) __VA_ARGS__;                                                                 \
  virtual Features instance_norm(Tensor x, const NormWeights& norm) __VA_ARGS__;                                      \
  virtual void sum_features(Tensor& y, const Features& a, const Features& b, float slope) __VA_ARGS__;                \
  /* images and sequences */                                                                                          \
  virtual void split_patches(Tensor& y, const Tensor& x, int64_t p) __VA_ARGS__;                                      \
  virtual void join_patches(Tensor& y, const Tensor& x, int64_t p) __VA_ARGS__;                                       \
  virtual void resample(Tensor& y, const Tensor& x, int axis, const AxisTaps& taps) __VA_ARGS__;                      \
  virtual void max_pool2d(Tensor& y, const Tensor& x, int64_t k) __VA_ARGS__;                                         \
  virtual void causal_conv1d_silu(Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) __VA_ARGS__;  \
  virtual void selective_scan(Tensor& y, const Tensor& x, const Tensor& delta, const Tensor& log_a, const Tensor& b,  \
                              const Tensor& c, const Tensor& d, const Tensor& gate) __VA_ARGS__;                      \
  /* grids and scores */                                                                                              \
  virtual void avg_pool3d(Tensor& y, const Features& x, int64_t k) __VA_ARGS__;                                       \
  virtual void accumulate_mask_scores(Tensor& scores, const Features& features, const Tensor& masks,                  \
                                      const Tensor& importance, const ScoreRegion& region) __VA_ARGS__;               \
  virtual void accumulate_importance(Tensor& weights, const Tensor& importance, const ScoreRegion& region)            \
      __VA_ARGS__;                                                                                                    \
  virtual void divide_rows(Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) __VA_ARGS__; \
  SAT_BACKEND_GRADIENTS(__VA_ARGS__)

class Backend {
 public:
  virtual ~Backend() = default;
  virtual Runtime& runtime() = 0;
  /// The types in which features may be held.
  virtual bool holds(DType features) const = 0;
  /// One of the same kind that counts memory and computes nothing; `max_bytes` as the cap of its memory, 0: the same.
  virtual DeviceHandle dry_run(int64_t max_bytes = 0) const = 0;
  /// One more of the same device, with memory and a queue of its own: both may read what lies on the device.
  virtual DeviceHandle another(int64_t max_bytes = 0) const = 0;
  SAT_BACKEND_OPS(= 0);
};

}  // namespace sat
