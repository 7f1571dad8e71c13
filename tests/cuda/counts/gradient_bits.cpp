// The bits of what gradients are made of, where sums go in several pieces or forms differ by precision.
#include "sat/tensor/ops/check.h"
#include "tests/cuda/counts/kernel_runs.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

namespace sat::test {

namespace {

Tensor made(const std::string& name, const Shape& shape, double scale = 1, double offset = 0) {
  return to_compute_device(field(name, shape, scale, offset));
}

Tensor result(const Shape& shape) { return Tensor(shape, DType::f32, Context::current().compute_device()); }

std::string line(const std::string& name, const std::vector<Tensor>& results) {
  Hash hash;
  for (const Tensor& one : results) {
    const Tensor here = to_host(one);
    hash.add(here.raw(), here.bytes());
  }
  return "gradient/" + name + " " + hash.text();
}

/// Both gradients of a 3x3x3 convolution of features that are held as a type.
std::string of_convolution(const std::string& name, Backend& backend, DType held, int64_t stride) {
  const Shape in{2, 7, 13, 24, 24}, per_channel{2, 24}, weight{40, 24, 3, 3, 3};
  Shape out = in.with(4, 40);
  for (int axis = 1; axis < 4; ++axis) out[axis] = divide_up(in[axis], stride);
  Features x{to_compute_device(field("x", in, 1).cast(held))};
  x.center = made("center", per_channel, 0.2);
  x.factor = made("factor", per_channel, 0.5, 1);
  x.shift = made("shift", per_channel, 0.5);
  x.slope = 0.01f;
  const Tensor dy = made("dy", out);
  Tensor dx = made("dx", in), dw = result(weight);
  backend.conv3d_input_gradient(dx, true, dy, made("weight", weight, 0.1), {stride, 1}, 0);
  backend.conv3d_weight_gradient(dw, x, dy, {stride, 1}, 0);
  return line(name + (stride == 2 ? "-stride2" : ""), {dx, dw});
}

}  // namespace

std::vector<std::string> gradient_bits() {
  std::vector<std::string> lines;
  for (const DType held : {DType::f32, DType::f16, DType::bf16}) {
    cuda::DeviceOptions options;
    if (held != DType::f32) options.half = held;
    const DeviceContext device(held == DType::f32 ? Precision::exact : Precision::fast, options);
    Backend& backend = packing_backend();
    for (const int64_t stride : {1, 2}) {
      lines.push_back(of_convolution(std::string("conv3d/") + name_of(held), backend, held, stride));
    }
  }

  const DeviceContext device(Precision::exact);
  Backend& backend = packing_backend();
  const Tensor rows = made("rows", {700, 45}), dy = made("dy", {700, 45}), gain = made("gain", {45}, 0.2, 1);
  Tensor sum = result({45}), dx = result({700, 45}), dgain = result({45}), dbias = result({45});
  backend.sum_rows(sum, rows);
  backend.layer_norm_gradient(dx, dgain, dbias, dy, rows, gain, 1e-5f);
  lines.push_back(line("rows", {sum, dx, dgain, dbias}));

  NormWeights norm{made("gain", {20}, 0.2, 1), made("bias", {20})};
  const Features normed = instance_norm(made("volume", {2, 9, 11, 13, 20}), norm);
  Tensor d = made("d", {2, 9, 11, 13, 20}), of_gain = result({20}), of_bias = result({20});
  backend.norm_gradient(d, of_gain, of_bias, normed, norm);
  lines.push_back(line("norm", {d, of_gain, of_bias}));

  const Tensor bits = to_compute_device(zeros({2, 9, 11, 13, 5}, DType::u8));
  const Tensor masks = made("masks", {2, 35, 20}), factors = made("factors", {2, 35, 3}, 0.01);
  Tensor dfeatures = made("dfeatures", {2, 9, 11, 13, 20}), dmasks = result({2, 35, 20});
  const std::vector<std::array<double, 4>> sums = backend.mask_sums(normed, masks, bits);
  backend.mask_gradient(dfeatures, true, dmasks, normed, masks, bits, factors);
  Hash hash;
  hash.add(sums.data(), int64_t(sums.size() * sizeof sums[0]));
  lines.push_back("gradient/mask_sums " + hash.text());
  lines.push_back(line("mask_loss", {dfeatures, dmasks}));

  const Tensor q = made("q", {80, 36}), k = made("k", {140, 36}), v = made("v", {140, 36}),
               bias = made("b", {3, 40, 70});
  Tensor dq = result({80, 36}), dk = result({140, 36}), dv = result({140, 36}), db = result({3, 40, 70});
  backend.attention_gradient(dq, dk, dv, db, made("dy", {80, 36}), q, k, v, 3, equal_segments(2, 40, 70), bias,
                             {0.1f, 7});
  lines.push_back(line("attention", {dq, dk, dv, db}));
  return lines;
}

}  // namespace sat::test
