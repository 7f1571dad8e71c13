// Gradients of convolutions on the device, all forms, against the CPU's.
#include <doctest/doctest.h>

#include "sat/tensor/ops/check.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

using Triple = std::array<int64_t, 3>;

struct Case {
  int64_t batch;
  Triple size, kernel, stride, padding;  // of the input
  int64_t of_in, first_in, in, out;      // the weight's inputs; those that are asked for
};

/// A case's arrays in the CPU's memory.
struct Arrays {
  Features x;
  Tensor dy, weight, before, before_weight;
  Conv3dOptions options;
  int64_t first_in;

  explicit Arrays(const Case& c, DType type = DType::f32, bool has_norm = true)
      : options(c.stride, c.padding), first_in(c.first_in) {
    const Shape shape{c.batch, c.size[0], c.size[1], c.size[2], c.in}, per_channel{c.batch, c.in};
    Shape out = shape.with(4, c.out);
    for (int a = 0; a < 3; ++a) {
      const auto axis = size_t(a);
      out[a + 1] = (c.size[axis] + 2 * c.padding[axis] - c.kernel[axis]) / c.stride[axis] + 1;
    }
    x.values = field("x", shape, 1).cast(type);
    if (has_norm) {
      x.center = field("center", per_channel, 0.2);
      x.factor = field("factor", per_channel, 0.5, 1);
      x.shift = field("shift", per_channel, 0.5);
      x.slope = 0.01f;
    }
    dy = field("dy", out, 1);
    weight = field("weight", {c.out, c.of_in, c.kernel[0], c.kernel[1], c.kernel[2]}, 0.3);
    before = field("before", shape, 1);
    before_weight = field("before_weight", weight.shape, 1);
  }

  Tensor input_gradient(bool add) const {
    Tensor dx = to_compute_device(before).clone();
    const Tensor upstream = to_compute_device(dy);
    backend_of("conv3d", {&dx, &upstream})
        .conv3d_input_gradient(dx, add, upstream, to_compute_device(weight), options, first_in);
    return to_host(dx);
  }
  Tensor weight_gradient() const {
    Tensor dw = to_compute_device(before_weight).clone();
    const Tensor upstream = to_compute_device(dy);
    const auto there = [](const Tensor& part) { return part.empty() ? part : to_compute_device(part); };
    const Features input{there(x.values), there(x.center), there(x.factor), there(x.shift), x.slope};
    backend_of("conv3d", {&dw, &upstream}).conv3d_weight_gradient(dw, input, upstream, options, first_in);
    return to_host(dw);
  }
  /// Operands rounded as `fast` multiplies them.
  Arrays rounded() const {
    Arrays to = *this;
    const auto narrow = [](const Tensor& part) { return part.cast(DType::bf16).cast(DType::f32); };
    to.x = Features{narrow(materialize(x))};
    to.dy = narrow(dy);
    to.weight = narrow(weight);
    return to;
  }
};

constexpr Triple kOnes{1, 1, 1}, kTwos{2, 2, 2}, kThrees{3, 3, 3};

// 3x3x3 of stride 1: a forward block's kernel backwards, of part of the inputs; several slabs; stride 2: eight phases.
// Then others: phases that no tap meets, kernels that leave out the last voxels, paddings wider than the kernel needs.
const Case kCases[] = {
    {2, {4, 5, 3}, kThrees, kOnes, kOnes, 7, 2, 5, 9},
    {1, {27, 3, 5}, kThrees, kOnes, kOnes, 4, 0, 4, 3},
    {2, {5, 4, 7}, kThrees, kTwos, kOnes, 6, 1, 4, 10},
    {1, {5, 6, 7}, {1, 2, 3}, {2, 3, 1}, {0, 2, 1}, 3, 0, 3, 66},
    {1, {6, 5, 1}, {2, 2, 1}, {2, 2, 1}, {0, 0, 0}, 65, 0, 65, 12},
    {2, {3, 3, 2}, kOnes, kTwos, {0, 0, 0}, 8, 0, 8, 8},
};

void check_all(const Case& c, DType type) {
  const Arrays arrays(c, type);
  CAPTURE(arrays.weight.shape);
  const Tensor dx = arrays.input_gradient(false), sum = arrays.input_gradient(true), dw = arrays.weight_gradient();
  Context context;
  const UseContext use(context);
  const Tolerance close{3e-6, 3e-5};
  CHECK(mismatch(dx, arrays.input_gradient(false), close) == "");
  CHECK(mismatch(sum, arrays.input_gradient(true), close) == "");
  CHECK(mismatch(dw, arrays.weight_gradient(), close) == "");
}

}  // namespace

TEST_CASE("gradients of convolutions in f32 are those of the CPU") {
  const DeviceContext device(Precision::exact);
  for (const Case& c : kCases) check_all(c, DType::f32);
}

TEST_CASE("gradients of convolutions on tensor cores are those of operands that are rounded to bf16") {
  cuda::DeviceOptions options;
  options.half = DType::bf16;
  const DeviceContext device(Precision::fast, options);
  const Case cases[] = {{2, {3, 3, 35}, kThrees, kOnes, kOnes, 80, 8, 72, 24},
                        {1, {5, 4, 7}, kThrees, kTwos, kOnes, 16, 0, 16, 72}};
  for (const Case& c : cases) {
    const Arrays arrays(c, DType::f16);
    CAPTURE(arrays.weight.shape);
    const Tensor dx = arrays.input_gradient(true), dw = arrays.weight_gradient();
    Context context;
    const UseContext use(context);
    const Arrays rounded = arrays.rounded();
    const Tolerance close{3e-5, 3e-4};
    CHECK(mismatch(dw, rounded.weight_gradient(), close) == "");
    // Of a stride, the input's gradient is taken in f32.
    CHECK(mismatch(dx, (c.stride == kOnes ? rounded : arrays).input_gradient(true), close) == "");
  }
}
