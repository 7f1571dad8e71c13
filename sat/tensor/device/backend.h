// Private: what a device must be able to do for the words of ops.h: one interface, which cpu/ and sat/cuda implement.
// The ops have checked shapes, types and devices and have allocated the results; a backend computes them, and chooses
// its kernels. Contracts are in ops.h.
#pragma once

#include <memory>

#include "sat/tensor/context.h"
#include "sat/tensor/device/runtime.h"
#include "sat/tensor/ops.h"

namespace sat {

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
  virtual void divide_rows(Tensor& scores, const Tensor& weights, int axis, int64_t first, int64_t last) __VA_ARGS__

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
