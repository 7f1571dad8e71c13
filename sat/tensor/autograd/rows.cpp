// Gradients of views, and of what moves or adds rows.
#include <algorithm>
#include <utility>

#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

/// Sums over the leading axes of `gradient` that b was added along.
Tensor summed_to(const Tensor& gradient, const Tensor& b) {
  if (gradient.numel() == b.numel()) return gradient;
  const Tensor rows = gradient.reshape({gradient.numel() / b.numel(), b.numel()});
  Tensor sum({b.numel()}, DType::f32, gradient.device);
  backend_of("sum_rows", {&rows}).sum_rows(sum, rows);
  return sum;
}

}  // namespace

Tape::Backward same_elements_gradient(const Tensor& x) {
  return [=](Tape& tape, Tensor dy) { tape.add(x, std::move(dy)); };
}

Tape::Backward transpose_gradient(const Tensor& x) {
  return [=](Tape& tape, const Tensor& dy) { tape.add(x, transpose(dy)); };
}

Tape::Backward slice_gradient(const Tensor& x, int64_t first) {
  return [=](Tape& tape, const Tensor& dy) {
    const Shape rows = x.shape.with(0, dy.numel() / std::max<int64_t>(1, x.shape.drop_front().numel()));
    tape.add_rows(x, first, dy.reshape(rows));
  };
}

Tape::Backward add_gradient(const Tensor& a, const Tensor& b) {
  return [=](Tape& tape, const Tensor& dy) {
    tape.add(a, dy);
    if (b.history != 0) tape.add(b, summed_to(dy, b));
  };
}

Tape::Backward multiply_gradient(const Tensor& a, const Tensor& b) {
  return [=](Tape& tape, const Tensor& dy) {
    if (a.history != 0) tape.add(a, multiply(dy, b));
    if (b.history != 0) tape.add(b, summed_to(multiply(dy, a), b));
  };
}

Tape::Backward concat_gradient(const std::vector<Tensor>& parts) {
  return [=](Tape& tape, const Tensor& dy) {
    const int axis = dy.shape.rank() - 1;
    int64_t first = 0;
    for (const Tensor& part : parts) {
      const int64_t last = first + part.shape[-1];
      if (part.history != 0) {
        Tensor own(part.shape, DType::f32, dy.device);
        copy_rows(own, axis, 0, dy, first, last);
        tape.add(part, std::move(own));
      }
      first = last;
    }
  };
}

Tape::Backward mean_of_rows_gradient(const Tensor& x, const std::vector<int64_t>& first,
                                     const std::vector<uint8_t>& counted) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dx = empty_like(x);
    backend_of("mean_of_rows", {&x, &dy}).mean_of_rows_gradient(dx, dy, first, counted);
    tape.add(x, std::move(dx));
  };
}

Tape::Backward dropout_gradient(const Tensor& x, const Dropout& dropped) {
  return [=](Tape& tape, const Tensor& dy) { tape.add(x, dropout(dy, dropped)); };
}

Tape::Backward normalize_rows_gradient(const Tensor& x) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dx = empty_like(x);
    backend_of("normalize_rows", {&x, &dy}).normalize_rows_gradient(dx, dy, x);
    tape.add(x, std::move(dx));
  };
}

Tape::Backward scale_by_exp_gradient(const Tensor& x, const Tensor& t) {
  return [=](Tape& tape, const Tensor& dy) {
    if (x.history != 0) tape.add(x, scale_by_exp(dy, t));
    if (t.history == 0) return;
    const Tensor y = scale_by_exp(x, t), product = multiply(dy, y).reshape({y.numel(), 1});
    Tensor dt({1}, DType::f32, dy.device);
    backend_of("scale_by_exp", {&product}).sum_rows(dt, product);
    tape.add(t, std::move(dt));
  };
}

Tape::Backward gather_gradient(const Tensor& table, const std::vector<int64_t>& ids) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor& sum = tape.sum(table);
    const Tensor rows = dy.to(sum.device);
    backend_of("gather_rows", {&sum}).scatter_rows(sum, rows, ids);
  };
}

}  // namespace sat
