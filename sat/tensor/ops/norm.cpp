// Normalisations over the last axis.
#include "sat/tensor/ops/check.h"

namespace sat {

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps) {
  SAT_CHECK(x.shape.rank() >= 1 && bias.shape == gain.shape && (gain.empty() || gain.shape == Shape({x.shape[-1]})),
            "layer_norm: x, gain, bias have shapes ", x.shape, ", ", gain.shape, ", ", bias.shape,
            ", need [..., C], [C], [C]");
  SAT_CHECK(x.shape[-1] > 0, "layer_norm: there are no channels");
  check_f32("layer_norm", {&x, &gain, &bias});
  Backend& backend = backend_of("layer_norm", {&x, &gain, &bias});
  profile::Range range("layer_norm", x.shape);
  Tensor y = empty_like(x);
  backend.layer_norm(y, x, gain, bias, eps);
  if (Tape* tape = following({&x, &gain, &bias})) {
    tape->record("layer_norm", y, layer_norm_gradient(x, gain, bias, eps));
  }
  return y;
}

Tensor normalize_rows(const Tensor& x) {
  SAT_CHECK(x.shape.rank() == 2, "normalize_rows: x has shape ", x.shape, ", needs [R, C]");
  check_f32("normalize_rows", {&x});
  Backend& backend = backend_of("normalize_rows", {&x});
  profile::Range range("normalize_rows", x.shape);
  Tensor y = empty_like(x);
  backend.normalize_rows(y, x);
  if (Tape* tape = following({&x})) tape->record("normalize_rows", y, normalize_rows_gradient(x));
  return y;
}

}  // namespace sat
