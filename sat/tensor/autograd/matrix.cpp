// Gradients of dense layers and products.
#include <utility>

#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

Tensor as_rows(const Tensor& x) { return x.reshape({x.numel() / x.shape[-1], x.shape[-1]}); }

/// [C], the sums of columns.
Tensor sum_rows(const Tensor& x) {
  Tensor y({x.shape[1]}, DType::f32, x.device);
  backend_of("sum_rows", {&x}).sum_rows(y, x);
  return y;
}

/// a^T b.
Tensor product_of_columns(const Tensor& a, const Tensor& b) {
  Tensor y({a.shape[1], b.shape[1]}, DType::f32, a.device);
  backend_of("product_of_columns", {&a, &b}).product_of_columns(y, a, b);
  return y;
}

/// dy * act'(x); of relu, x may be its result.
Tensor through_activation(Tensor dy, const Tensor& x, Activation act) {
  Tensor dx = is_last_reference(dy) ? dy : empty_like(dy);
  backend_of("activation", {&x, &dy}).activation_gradient(dx, dy, x, act);
  return dx;
}

/// Those of y = x weight^T + bias, rows alone.
void add_linear_gradients(Tape& tape, const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (x.history != 0) tape.add(x, linear(dy, pack_linear(transpose(weight)), {}));
  if (weight.history != 0) tape.add(weight, product_of_columns(dy, as_rows(x)));
  if (bias.history != 0) tape.add(bias, sum_rows(dy));
}

}  // namespace

Tape::Backward linear_gradient(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& relu) {
  return [=](Tape& tape, Tensor dy) {
    if (!relu.empty()) dy = through_activation(std::move(dy), relu, Activation::relu);
    add_linear_gradients(tape, as_rows(dy), x, weight, bias);
  };
}

Tape::Backward activation_gradient(const Tensor& x, Activation act) {
  return [=](Tape& tape, Tensor dy) { tape.add(x, through_activation(std::move(dy), x, act)); };
}

Tape::Backward product_transposed_gradient(const Tensor& a, const Tensor& b) {
  return [=](Tape& tape, const Tensor& dy) {
    const Tensor rows = as_rows(dy);
    if (a.history != 0) tape.add(a, product_transposed(rows, transpose(b)));
    if (b.history != 0) tape.add(b, product_of_columns(rows, as_rows(a)));
  };
}

}  // namespace sat
