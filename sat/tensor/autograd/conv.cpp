// Gradients of convolutions, and of blocks of convolution and norm.
#include "sat/tensor/autograd/gradients.h"
#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

Tensor as_rows(const Tensor& x) { return x.reshape({x.numel() / x.shape[-1], x.shape[-1]}); }

/// From the gradient of y's final values to that of the raw ones, in the same bytes; the norm's own on the way.
Tensor through_norm(Tape& tape, Tensor d, const Features& y, const NormWeights& norm) {
  if (!is_last_reference(d)) d = d.clone();
  Tensor dgain(norm.gain.shape, DType::f32, d.device), dbias(norm.bias.shape, DType::f32, d.device);
  backend_of("instance_norm", {&d, &y.values}).norm_gradient(d, dgain, dbias, y, norm);
  tape.add(norm.gain, std::move(dgain));
  tape.add(norm.bias, std::move(dbias));
  if (norm.cancelled.history != 0) tape.add(norm.cancelled, zeros(norm.cancelled.shape));
  return d;
}

/// Of a convolution's inputs from first_in on, which are x's channels.
void add_input_gradient(Tape& tape, const Tensor& x, const Tensor& dy, const Tensor& weight,
                        const Conv3dOptions& options, int64_t first_in) {
  tape.add_computed(x, [&](Tensor& dx, bool add) {
    backend_of("conv3d", {&dx, &dy}).conv3d_input_gradient(dx, add, dy, weight, options, first_in);
  });
}

void weight_gradient(Tensor& dw, const Features& x, const Tensor& dy, const Conv3dOptions& options, int64_t first_in) {
  backend_of("conv3d", {&dw, &dy}).conv3d_weight_gradient(dw, x, dy, options, first_in);
}

/// Those of a transposed convolution of x, from the gradient of its result.
void add_up_sampling_gradients(Tape& tape, const Features& x, const Tensor& weight, const Tensor& bias, Tensor dy) {
  const Shape& low = x.values.shape;
  const int64_t in = low[4], out = weight.shape[1];
  Tensor blocks({low[0], low[1], low[2], low[3], 8 * out}, DType::f32, dy.device);
  backend_of("conv_transpose3d", {&dy}).split_blocks(blocks, dy);
  dy = Tensor();
  blocks = as_rows(blocks);
  Backend& backend = backend_of("conv_transpose3d", {&blocks});
  if (bias.history != 0) {
    Tensor dbias({out}, DType::f32, blocks.device);
    backend.sum_rows(dbias, blocks.reshape({blocks.shape[0] * 8, out}));
    tape.add(bias, std::move(dbias));
  }
  if (x.values.history != 0) {
    const Tensor by_tap = transpose(to_compute_device(weight).reshape({in, out, 8}));  // [in, 8, out]
    tape.add(x.values, product_transposed(blocks, by_tap.reshape({in, 8 * out})));
  }
  if (weight.history == 0) return;
  Tensor by_tap({in, 8 * out}, DType::f32, blocks.device);
  backend.product_of_columns(by_tap, as_rows(materialize(x)), blocks);
  tape.add(weight, transpose(by_tap.reshape({in, 8, out})));
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
  return [=](Tape& tape, Tensor dy) { add_up_sampling_gradients(tape, Features{x}, weight, bias, std::move(dy)); };
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
  return [low, skip = skip, published = weight.conv.published, up = weight.up.published, up_bias = weight.up_bias, norm,
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
    add_input_gradient(tape, skip.values, d, kernel, {}, up_channels);
    if (!asks_low) return;
    Tensor dabove(skip.values.shape.with(4, up_channels), DType::f32, d.device);
    skip = Features();
    backend_of("conv3d_norm_up", {&d}).conv3d_input_gradient(dabove, false, d, kernel, {}, 0);
    d = Tensor();
    add_up_sampling_gradients(tape, low, up, up_bias, std::move(dabove));
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
