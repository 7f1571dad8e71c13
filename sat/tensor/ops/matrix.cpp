// Dense layers and products.
#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

/// A weight that a tape follows is packed now.
PackedMatrix ready(const PackedMatrix& weight) {
  return weight.panels.empty() ? packing_backend().pack_linear(weight.published, weight.site) : weight;
}

}  // namespace

PackedMatrix pack_linear(const Tensor& weight, const DenseSite& site) {
  SAT_CHECK(weight.shape.rank() == 2, "pack_linear: weight has shape ", weight.shape, ", needs [out, in]");
  check_published("pack_linear", {&weight});
  if (Context::current().tape()) return {{}, weight.shape[1], weight.shape[0], 0, weight, site};
  return packing_backend().pack_linear(weight, site);
}

Tensor linear(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation act) {
  SAT_CHECK(x.shape.rank() >= 1 && x.shape[-1] == weight.in, "linear: x has shape ", x.shape, ", needs [..., ",
            weight.in, "]");
  SAT_CHECK(bias.empty() || bias.shape == Shape({weight.out}), "linear: bias has shape ", bias.shape, ", needs [",
            weight.out, "]");
  check_f32("linear", {&x, &bias});
  Backend& backend = backend_of("linear", {&x, &weight.panels, &bias});
  Tape* tape = following({&x, &weight.published, &bias});
  if (tape && act == Activation::gelu) return gelu(linear(x, weight, bias));  // its gradient reads the sum
  profile::Range range("linear", x.shape);
  Tensor y(x.shape.with(-1, weight.out), DType::f32, x.device);
  backend.linear(y, x, ready(weight), bias, act);
  if (tape) {
    check_can_learn("linear", weight.published);
    tape->record("linear", y, linear_gradient(x, weight.published, bias, act == Activation::relu ? y : Tensor()));
  }
  return y;
}

Tensor linear_add(Tensor residual, const Tensor& x, const PackedMatrix& weight, const Tensor& bias,
                  const Tensor& scale) {
  SAT_CHECK(x.shape.rank() >= 1 && x.shape[-1] == weight.in && residual.shape == x.shape.with(-1, weight.out),
            "linear_add: x and residual have shapes ", x.shape, " and ", residual.shape, ", need [..., ", weight.in,
            "] and [..., ", weight.out, "]");
  for (const Tensor* vector : {&bias, &scale}) {
    SAT_CHECK(vector->empty() || vector->shape == Shape({weight.out}), "linear_add: bias and scale have shapes ",
              bias.shape, " and ", scale.shape, ", need [", weight.out, "]");
  }
  check_f32("linear_add", {&residual, &x, &bias, &scale});
  if (following({&residual, &x, &weight.published, &bias, &scale})) {
    const Tensor product = linear(x, weight, bias);
    return add(residual, scale.empty() ? product : multiply(product, scale));
  }
  Backend& backend = backend_of("linear_add", {&residual, &x, &weight.panels, &bias, &scale});
  profile::Range range("linear_add", x.shape);
  Tensor y = is_last_reference(residual) ? residual : empty_like(residual);
  backend.linear_add(y, residual, x, ready(weight), bias, scale);
  return y;
}

Tensor gelu(Tensor x) {
  check_f32("gelu", {&x});
  Backend& backend = backend_of("gelu", {&x});
  profile::Range range("gelu", x.shape);
  Tape* tape = following({&x});
  Tensor y = is_last_reference(x) && !tape ? x : empty_like(x);
  backend.gelu(y, x);
  if (tape) tape->record("gelu", y, activation_gradient(x, Activation::gelu));
  return y;
}

Tensor product_transposed(const Tensor& a, const Tensor& b) {
  SAT_CHECK(a.shape.rank() >= 1 && b.shape.rank() == 2 && a.shape[-1] == b.shape[1],
            "product_transposed: a and b have shapes ", a.shape, " and ", b.shape, ", need [..., C] and [N, C]");
  check_f32("product_transposed", {&a, &b});
  Backend& backend = backend_of("product_transposed", {&a, &b});
  profile::Range range("product_transposed", a.shape);
  Tensor y(a.shape.with(-1, b.shape[0]), DType::f32, a.device);
  backend.product_transposed(y, a, b);
  if (Tape* tape = following({&a, &b})) {
    tape->record("product_transposed", y, product_transposed_gradient(a, b));
  }
  return y;
}

}  // namespace sat
