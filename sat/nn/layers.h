// Private. The dense layers that the models share: a linear map, a layer norm, a two-layer MLP.
// Knows weights by their published names and the ops of tensor/ops.h; no papers.
#pragma once

#include "sat/tensor/ops.h"
#include "sat/tensor/weights.h"

namespace sat {

/// Rows [first, last) of a tensor that `w` gave: a view where a model is going to be trained, else bytes of their own,
/// so that the rest is let go.
inline Tensor rows_of(const Weights& w, const Tensor& whole, int64_t first, int64_t last) {
  const Tensor rows = slice(whole, first, last);
  return w.training() ? rows : rows.clone();
}

/// torch.nn.Linear: reads `weight` [out, in] and `bias` [out].
struct Linear {
  PackedMatrix weight;
  Tensor bias;

  Linear() = default;
  Linear(const Weights& w, int64_t in, int64_t out, const DenseSite& site = {})
      : Linear(w.get("weight", {out, in}), w.get("bias", {out}), site) {}
  Linear(const Tensor& published_weight, const Tensor& published_bias, const DenseSite& site = {})
      : weight(pack_linear(published_weight, site)), bias(to_compute_device(published_bias)) {}

  Tensor operator()(const Tensor& x, Activation act = Activation::none) const { return linear(x, weight, bias, act); }
};

/// torch.nn.LayerNorm over the last axis: reads `weight` and `bias`, both [channels].
struct LayerNorm {
  Tensor gain, bias;
  float eps = 1e-5f;

  LayerNorm() = default;
  LayerNorm(const Weights& w, int64_t channels, float epsilon = 1e-5f)
      : gain(to_compute_device(w.get("weight", {channels}))),
        bias(to_compute_device(w.get("bias", {channels}))),
        eps(epsilon) {}

  Tensor operator()(const Tensor& x) const { return layer_norm(x, gain, bias, eps); }
};

/// Linear, GELU, Linear, GELU: SAT activates the output of its projections too. Layers are published as `0` and `2`.
struct ActivatedMlp {
  Linear first, second;

  ActivatedMlp() = default;
  ActivatedMlp(const Weights& w, int64_t in, int64_t hidden, int64_t out)
      : first(w / 0, in, hidden), second(w / 2, hidden, out) {}

  Tensor operator()(const Tensor& x) const { return second(first(x, Activation::gelu), Activation::gelu); }
};

}  // namespace sat
