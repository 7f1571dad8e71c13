// Sequences: what Mamba does along them.
#include "sat/tensor/ops/check.h"

namespace sat {

Tensor causal_conv1d_silu(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  SAT_CHECK(x.shape.rank() == 3 && weight.shape.rank() == 2 && weight.shape[0] == x.shape[2] && weight.shape[1] > 0 &&
                bias.shape == Shape({x.shape[2]}),
            "causal_conv1d_silu: x, weight, bias have shapes ", x.shape, ", ", weight.shape, ", ", bias.shape,
            ", need [B, L, C], [C, K], [C]");
  refuse_history("causal_conv1d_silu", {&x, &weight, &bias});
  check_f32("causal_conv1d_silu", {&x, &weight, &bias});
  Backend& backend = backend_of("causal_conv1d_silu", {&x, &weight, &bias});
  profile::Range range("causal_conv1d_silu", x.shape);
  Tensor y = empty_like(x);
  backend.causal_conv1d_silu(y, x, weight, bias);
  return y;
}

Tensor selective_scan(const Tensor& x, const Tensor& delta, const Tensor& log_a, const Tensor& b, const Tensor& c,
                      const Tensor& d, const Tensor& gate) {
  SAT_CHECK(x.shape.rank() == 3 && delta.shape == x.shape && gate.shape == x.shape,
            "selective_scan: x, delta, gate have shapes ", x.shape, ", ", delta.shape, ", ", gate.shape,
            ", need one [B, L, C]");
  SAT_CHECK(log_a.shape.rank() == 2 && log_a.shape[0] == x.shape[2] && d.shape == Shape({x.shape[2]}) &&
                b.shape == x.shape.with(2, log_a.shape[1]) && c.shape == b.shape,
            "selective_scan: log_a, b, c, d have shapes ", log_a.shape, ", ", b.shape, ", ", c.shape, ", ", d.shape,
            ", need [", x.shape[2], ", N], [B, L, N], [B, L, N], [", x.shape[2], "]");
  refuse_history("selective_scan", {&x, &delta, &log_a, &b, &c, &d, &gate});
  check_f32("selective_scan", {&x, &delta, &log_a, &b, &c, &d, &gate});
  Backend& backend = backend_of("selective_scan", {&x, &delta, &log_a, &b, &c, &d, &gate});
  profile::Range range("selective_scan", x.shape);
  Tensor y = empty_like(x);
  backend.selective_scan(y, x, delta, log_a, b, c, d, gate);
  return y;
}

}  // namespace sat
