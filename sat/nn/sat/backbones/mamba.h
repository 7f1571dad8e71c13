// Private. The Mamba layer of U-Mamba's encoder (spec b.2): every voxel of a volume is a step of one sequence.
#pragma once

#include "sat/nn/layers.h"

namespace sat {

/// Layer norm, then Mamba: a gated selective scan over H, W, D in row-major order. The result replaces the input: there
/// is no residual connection. Weights: w.norm, w.mamba.
class MambaLayer {
 public:
  static constexpr int64_t kStates = 16, kTaps = 4, kExpansion = 2;  // as every published model has them

  MambaLayer(const Weights& w, int64_t channels);
  Tensor operator()(const Tensor& x) const;  // [B, H, W, D, C] -> the same shape

 private:
  LayerNorm norm_;
  // The parts of `in_proj` (input, gate) and of `x_proj` (step, into the state, out of it), and `out_proj`; no biases.
  PackedMatrix input_, gate_, step_, into_, out_of_, out_;
  Tensor conv_, conv_bias_;  // [E, taps], [E]
  Linear delta_;             // dt_proj: the width of each step, before its softplus
  Tensor log_a_, direct_;    // [E, states], [E]
};

}  // namespace sat
