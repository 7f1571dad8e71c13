// Gradients of what samples images.
#include <utility>

#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/ops/check.h"

namespace sat {

Tape::Backward split_patches_gradient(const Tensor& x, int64_t p) {
  return [=](Tape& tape, const Tensor& dy) {
    const Tensor whole = join_patches(dy, p);  // without the pixels behind the last whole patch
    if (whole.shape == x.shape) return tape.add(x, whole);
    Tensor columns = zeros(whole.shape.with(2, x.shape[2]), DType::f32, dy.device);
    copy_rows(columns, 2, 0, whole, 0, whole.shape[2]);
    Tensor dx = zeros(x.shape, DType::f32, dy.device);
    copy_rows(dx, 1, 0, columns, 0, columns.shape[1]);
    tape.add(x, std::move(dx));
  };
}

Tape::Backward join_patches_gradient(const Tensor& x, int64_t p) {
  return [=](Tape& tape, const Tensor& dy) { tape.add(x, split_patches(dy, p)); };
}

Tape::Backward resample_gradient(const Tensor& x, int axis, const AxisTaps& taps) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dx = empty_like(x);
    backend_of("resample", {&x, &dy}).resample_gradient(dx, dy, axis, taps);
    tape.add(x, std::move(dx));
  };
}

Tape::Backward max_pool2d_gradient(const Tensor& x, int64_t k) {
  return [=](Tape& tape, const Tensor& dy) {
    Tensor dx = empty_like(x);
    backend_of("max_pool2d", {&x, &dy}).max_pool2d_gradient(dx, dy, x, k);
    tape.add(x, std::move(dx));
  };
}

}  // namespace sat
