// Mamba's forward pass.
#include "sat/nn/sat/backbones/mamba.h"

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// Rows [first, last) of a published matrix, as a dense layer of their own.
PackedMatrix pack_rows(const Tensor& matrix, int64_t first, int64_t last) {
  return pack_linear(slice(matrix, first, last));
}

}  // namespace

MambaLayer::MambaLayer(const Weights& w, int64_t channels) : norm_(w / "norm", channels) {
  const int64_t inner = kExpansion * channels, rank = divide_up(channels, kStates);
  const Weights mamba = w / "mamba";
  const Tensor in = (mamba / "in_proj").get("weight", {2 * inner, channels});
  input_ = pack_rows(in, 0, inner);
  gate_ = pack_rows(in, inner, 2 * inner);
  const Tensor x = (mamba / "x_proj").get("weight", {rank + 2 * kStates, inner});
  step_ = pack_rows(x, 0, rank);
  into_ = pack_rows(x, rank, rank + kStates);
  out_of_ = pack_rows(x, rank + kStates, rank + 2 * kStates);
  out_ = pack_rows((mamba / "out_proj").get("weight", {channels, inner}), 0, channels);
  conv_ = to_compute_device(reshape((mamba / "conv1d").get("weight", {inner, 1, kTaps}), {inner, kTaps}));
  conv_bias_ = to_compute_device((mamba / "conv1d").get("bias", {inner}));
  delta_ = Linear(mamba / "dt_proj", rank, inner);
  log_a_ = to_compute_device(mamba.get("A_log", {inner, kStates}));
  direct_ = to_compute_device(mamba.get("D", {inner}));
}

Tensor MambaLayer::operator()(const Tensor& x) const {
  const int64_t batch = x.shape[0], length = x.shape[1] * x.shape[2] * x.shape[3];
  Tensor tokens = norm_(reshape(x, {batch, length, x.shape[4]}));
  const Tensor gate = linear(tokens, gate_, {});
  tokens = linear(tokens, input_, {});
  tokens = causal_conv1d_silu(tokens, conv_, conv_bias_);
  const Tensor delta = delta_(linear(tokens, step_, {}));
  const Tensor into = linear(tokens, into_, {}), out_of = linear(tokens, out_of_, {});
  tokens = selective_scan(tokens, delta, log_a_, into, out_of, direct_, gate);
  return reshape(linear(tokens, out_, {}), x.shape);
}

}  // namespace sat
