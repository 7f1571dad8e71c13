// Gradients of convolutions, and of blocks of convolution and norm.
#include "sat/tensor/autograd/gradients.h"

#include <algorithm>

#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

constexpr int64_t kVoxelsOfBlocks = 8192;  // of a low resolution, whose blocks are held at a time

Tensor as_rows(const Tensor& x) { return x.reshape({x.numel() / x.shape[-1], x.shape[-1]}); }

/// From the gradient of y's final values to that of the raw ones, in the same bytes; the norm's own on the way.
Tensor through_norm(Tape& tape, Tensor d, const Features& y, const NormWeights& norm) {
  if (!is_last_reference(d)) d = d.clone();
  Tensor dgain(norm.gain.shape, DType::f32, d.device), dbias(norm.bias.shape, DType::f32, d.device);
  {
    profile::Range range("norm_gradient", d.shape);
    backend_of("instance_norm", {&d, &y.values}).norm_gradient(d, dgain, dbias, y, norm);
  }
  tape.add(norm.gain, std::move(dgain));
  tape.add(norm.bias, std::move(dbias));
  if (norm.cancelled.history != 0) tape.add(norm.cancelled, zeros(norm.cancelled.shape));
  return d;
}

void input_gradient(Tensor& dx, bool add, const Tensor& dy, const Tensor& weight, const Conv3dOptions& options,
                    int64_t first_in) {
  profile::Range range("conv3d_input_gradient", dy.shape);
  backend_of("conv3d", {&dx, &dy}).conv3d_input_gradient(dx, add, dy, weight, options, first_in);
}

/// Of a convolution's inputs from first_in on, which are x's channels.
void add_input_gradient(Tape& tape, const Tensor& x, const Tensor& dy, const Tensor& weight,
                        const Conv3dOptions& options, int64_t first_in) {
  tape.add_computed(x, [&](Tensor& dx, bool add) { input_gradient(dx, add, dy, weight, options, first_in); });
}

void weight_gradient(Tensor& dw, const Features& x, const Tensor& dy, const Conv3dOptions& options, int64_t first_in) {
  profile::Range range("conv3d_weight_gradient", dy.shape);
  backend_of("conv3d", {&dw, &dy}).conv3d_weight_gradient(dw, x, dy, options, first_in);
}

/// Planes [first, last) along H of all samples, one after the other.
Tensor planes_of(const Tensor& x, int64_t first, int64_t last) {
  const Shape& shape = x.shape;
  const Tensor planes = x.reshape({shape[0] * shape[1], shape[2], shape[3], shape[4]}).slice(first, last);
  return planes.reshape({1, last - first, shape[2], shape[3], shape[4]});
}

/// Those of a transposed convolution of x, from the gradient of its result. Some planes at a time, since they are read
/// as rows of 8 voxels, which is a copy.
void add_up_sampling_gradients(Tape& tape, const Features& x, const Tensor& weight, const Tensor& bias,
                               const Tensor& dy) {
  const Shape& low = x.values.shape;
  const int64_t in = low[4], out = weight.shape[1], planes = low[0] * low[1];
  Backend& backend = backend_of("conv_transpose3d", {&dy});
  if (bias.history != 0) {
    Tensor dbias({out}, DType::f32, dy.device);
    backend.sum_rows(dbias, as_rows(dy));
    tape.add(bias, std::move(dbias));
  }
  const bool asks_x = x.values.history != 0, asks_weight = weight.history != 0;
  const Tensor values = asks_weight ? materialize(x) : Tensor();
  const Tensor by_tap = transpose(to_compute_device(weight).reshape({in, out, 8})).reshape({in, 8 * out});
  Tensor dx = asks_x ? Tensor(low, DType::f32, dy.device) : Tensor();
  Tensor dweight = zeros(by_tap.shape, DType::f32, dy.device), part = empty_like(by_tap);
  const int64_t step = std::max<int64_t>(1, kVoxelsOfBlocks / (low[2] * low[3]));
  for (int64_t first = 0; first < planes; first += step) {
    const int64_t last = std::min(planes, first + step);
    Tensor blocks({1, last - first, low[2], low[3], 8 * out}, DType::f32, dy.device);
    backend.split_blocks(blocks, planes_of(dy, 2 * first, 2 * last));
    if (asks_x) {
      Tensor to = planes_of(dx, first, last);
      backend.product_transposed(to, blocks, by_tap);
    }
    if (asks_weight) {
      backend.product_of_columns(part, as_rows(planes_of(values, first, last)), as_rows(blocks));
      backend.add(dweight, dweight, part);
    }
  }
  if (asks_x) tape.add(x.values, std::move(dx));
  if (asks_weight) tape.add(weight, transpose(dweight.reshape({in, 8, out})));
}

}  // namespace

Tape::Backward conv3d_gradient(const Tensor& x, const Tensor& weight, const Tensor& bias,
                               const Conv3dOptions& options) {
  return [=](Tape& tape, const Tensor& dy) {
    if (bias.history != 0) {
      Tensor dbias(bias.shape, DType::f32, dy.device);
      backend_of("conv3d", {&dy}).sum_rows(dbias, as_rows(dy));
      tape.add(bias, std::move(dbias));
    }
    add_input_gradient(tape, x, dy, to_compute_device(weight), options, 0);
    if (weight.history == 0) return;
    Tensor dw(weight.shape, DType::f32, dy.device);
    weight_gradient(dw, Features{x}, dy, options, 0);
    tape.add(weight, std::move(dw));
  };
}

Tape::Backward conv_transpose3d_gradient(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return [=](Tape& tape, Tensor dy) { add_up_sampling_gradients(tape, Features{x}, weight, bias, dy); };
}

Tape::Backward instance_norm_gradient(const Tensor& x, const Features& y, const NormWeights& norm) {
  return [=](Tape& tape, Tensor d) { tape.add(x, through_norm(tape, std::move(d), y, norm)); };
}

Tape::Backward sum_features_gradient(const Tensor& a, const Tensor& b, const Tensor& y, float slope) {
  return [=](Tape& tape, Tensor dy) {
    if (slope != 1) {
      Tensor dx = is_last_reference(dy) ? dy : empty_like(dy);
      backend_of("sum_features", {&dy, &y}).leaky_relu_gradient(dx, dy, y, slope);
      dy = std::move(dx);
    }
    tape.add(a, dy);
    tape.add(b, std::move(dy));
  };
}

Tape::Backward conv3d_norm_gradient(const Features& x, const ConvBlockWeight& weight, const NormWeights& norm,
                                    const Features& y) {
  return [x, published = weight.published, stride = weight.stride, norm, y = y](Tape& tape, Tensor d) mutable {
    d = through_norm(tape, std::move(d), y, norm);
    y = Features();
    const Conv3dOptions options(stride, 1);
    if (published.history != 0) {
      Tensor dw(published.shape, DType::f32, d.device);
      weight_gradient(dw, x, d, options, 0);
      tape.add(published, std::move(dw));
    }
    add_input_gradient(tape, x.values, d, to_compute_device(published), options, 0);
  };
}

Tape::Backward conv3d_norm_up_gradient(const Features& low, const Features& skip, const UpBlockWeight& weight,
                                       const NormWeights& norm, const Features& y) {
  return [low, skip, published = weight.conv.published, up = weight.up.published, up_bias = weight.up_bias, norm,
          y = y](Tape& tape, Tensor d) mutable {
    d = through_norm(tape, std::move(d), y, norm);
    y = Features();
    const Tensor kernel = to_compute_device(published);
    const int64_t up_channels = up.shape[1];
    const bool asks_low = low.values.history != 0 || up.history != 0 || up_bias.history != 0;
    if (published.history != 0) {
      Tensor dw(published.shape, DType::f32, d.device);
      weight_gradient(dw, skip, d, {}, up_channels);
      const Tensor above = conv_transpose3d(materialize(low), pack_conv_transpose3d(up), to_compute_device(up_bias));
      weight_gradient(dw, Features{above}, d, {}, 0);
      tape.add(published, std::move(dw));
    }
    if (asks_low) {
      Tensor dabove(skip.values.shape.with(4, up_channels), DType::f32, d.device);
      input_gradient(dabove, false, d, kernel, {}, 0);
      add_up_sampling_gradients(tape, low, up, up_bias, dabove);
    }
    add_input_gradient(tape, skip.values, d, kernel, {}, up_channels);
  };
}

Tape::Backward avg_pool3d_gradient(const Features& x, int64_t k) {
  return [x, k](Tape& tape, const Tensor& dy) {
    tape.add_computed(x.values, [&](Tensor& dx, bool add) {
      backend_of("avg_pool3d", {&dx, &dy}).avg_pool3d_gradient(dx, add, dy, k);
    });
  };
}

}  // namespace sat
