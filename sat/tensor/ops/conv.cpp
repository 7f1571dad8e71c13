// Convolutions, and blocks of convolution and norm.
#include <utility>

#include "sat/tensor/ops/check.h"
#include "sat/tensor/ops/slab_walk.h"

namespace sat {

namespace {

void check_conv_weight(const char* op, const Tensor& weight) {
  SAT_CHECK(weight.shape.rank() == 5, op, ": weight has shape ", weight.shape, ", needs [out, in, kh, kw, kd]");
  check_published(op, {&weight});
}

void check_block_weight(const char* op, const Tensor& weight, const ConvSite& site) {
  check_conv_weight(op, weight);
  SAT_CHECK(weight.shape[2] == 3 && weight.shape[3] == 3 && weight.shape[4] == 3, op,
            ": a block has a 3x3x3 kernel, not a weight of shape ", weight.shape);
  SAT_CHECK(site.stride == 1 || site.stride == 2, op, ": stride ", site.stride, ", needs 1 or 2");
}

void check_up_weight(const char* op, const Tensor& weight, const Tensor& bias) {
  SAT_CHECK(weight.shape.rank() == 5 && weight.shape[1] > 0 && weight.shape[2] == 2 && weight.shape[3] == 2 &&
                weight.shape[4] == 2,
            op, ": the up-sampling weight has shape ", weight.shape, ", needs [in, out, 2, 2, 2]");
  SAT_CHECK(bias.empty() || bias.shape == Shape({weight.shape[1]}), op, ": its bias has shape ", bias.shape,
            ", needs [", weight.shape[1], "]");
  check_published(op, {&weight, &bias});
}

void check_norm(const char* op, const NormWeights& norm, int64_t channels) {
  SAT_CHECK(norm.gain.shape == Shape({channels}) && norm.bias.shape == Shape({channels}), op, ": gain ",
            norm.gain.shape, " and bias ", norm.bias.shape, " need [", channels, "]");
  check_f32(op, {&norm.gain, &norm.bias});
}

/// Weights that a tape follows are packed now.
PackedConv3d ready(const PackedConv3d& weight) {
  return weight.panels.empty() ? packing_backend().pack_conv3d(weight.published) : weight;
}

PackedMatrix ready_transposed(const PackedMatrix& weight) {
  return weight.panels.empty() ? packing_backend().pack_conv_transpose3d(weight.published) : weight;
}

ConvBlockWeight ready(const ConvBlockWeight& weight) {
  return weight.panels.empty() ? packing_backend().pack_conv_block(weight.published, weight.site) : weight;
}

UpBlockWeight ready(const UpBlockWeight& weight) {
  if (!weight.conv.panels.empty()) return weight;
  return packing_backend().pack_up_block(weight.conv.published, weight.up.published, weight.up_bias, weight.conv.site);
}

/// What a backend's body computes in other ops is not recorded. Inputs stay as they are: the caller holds them.
template <class Compute>
Features computed_as_one(const Compute& compute) {
  RecordOn nothing(nullptr);
  return compute();
}

/// What a block's weight is before it is packed.
ConvBlockWeight unpacked(const Tensor& weight, const ConvSite& site, int64_t up) {
  const ConvChoice choice = packing_backend().choose_conv(site, {weight.shape[1], weight.shape[0], up});
  return {{}, weight.shape[1], weight.shape[0], site.stride, up, site.input, choice.store, 0, weight, site};
}

/// A norm over no voxels is not defined.
void check_voxels(const char* op, const Shape& volume) {
  SAT_CHECK(volume[1] > 0 && volume[2] > 0 && volume[3] > 0, op, ": there are no voxels in a volume of shape ", volume);
}

}  // namespace

PackedConv3d pack_conv3d(const Tensor& weight) {
  check_conv_weight("pack_conv3d", weight);
  if (Context::current().tape()) {
    return {{}, weight.shape[1], weight.shape[0], {weight.shape[2], weight.shape[3], weight.shape[4]}, weight};
  }
  return packing_backend().pack_conv3d(weight);
}

Tensor conv3d(const Tensor& x, const PackedConv3d& weight, const Tensor& bias, const Conv3dOptions& options) {
  SAT_CHECK(x.shape.rank() == 5, "conv3d: x has shape ", x.shape, ", needs [B, H, W, D, C]");
  SAT_CHECK(x.shape[4] == weight.in, "conv3d: ", x.shape[4], " input channels, the weight has ", weight.in);
  SAT_CHECK(bias.empty() || bias.shape == Shape({weight.out}), "conv3d: bias has shape ", bias.shape, ", needs [",
            weight.out, "]");
  Shape shape = x.shape.with(4, weight.out);
  for (int axis = 1; axis < 4; ++axis) {
    const auto a = size_t(axis - 1);
    SAT_CHECK(options.stride[a] >= 1 && options.padding[a] >= 0, "conv3d: stride ", options.stride[a], ", padding ",
              options.padding[a]);
    const int64_t room = x.shape[axis] + 2 * options.padding[a] - weight.kernel[a];
    SAT_CHECK(room >= 0, "conv3d: x of shape ", x.shape, " is smaller than the kernel ", weight.kernel[a]);
    shape[axis] = room / options.stride[a] + 1;
  }
  check_f32("conv3d", {&x, &bias});
  Backend& backend = backend_of("conv3d", {&x, &weight.panels, &bias});
  profile::Range range("conv3d", x.shape);
  Tensor y(shape, DType::f32, x.device);
  backend.conv3d(y, x, ready(weight), bias, options);
  if (Tape* tape = following({&x, &weight.published, &bias})) {
    check_can_learn("conv3d", weight.published);
    tape->record("conv3d", y, conv3d_gradient(x, weight.published, bias, options));
  }
  return y;
}

PackedMatrix pack_conv_transpose3d(const Tensor& weight) {
  check_up_weight("pack_conv_transpose3d", weight, {});
  if (Context::current().tape()) return {{}, weight.shape[0], 8 * weight.shape[1], 0, weight};
  return packing_backend().pack_conv_transpose3d(weight);
}

Tensor conv_transpose3d(const Tensor& x, const PackedMatrix& weight, const Tensor& bias) {
  SAT_CHECK(x.shape.rank() == 5 && x.shape[4] == weight.in && weight.out % 8 == 0, "conv_transpose3d: x has shape ",
            x.shape, ", needs [B, H, W, D, ", weight.in, "]");
  const int64_t out = weight.out / 8;
  SAT_CHECK(bias.empty() || bias.shape == Shape({out}), "conv_transpose3d: bias has shape ", bias.shape, ", needs [",
            out, "]");
  check_f32("conv_transpose3d", {&x, &bias});
  Backend& backend = backend_of("conv_transpose3d", {&x, &weight.panels, &bias});
  profile::Range range("conv_transpose3d", x.shape);
  Tensor y({x.shape[0], 2 * x.shape[1], 2 * x.shape[2], 2 * x.shape[3], out}, DType::f32, x.device);
  backend.conv_transpose3d(y, x, ready_transposed(weight), bias);
  if (Tape* tape = following({&x, &weight.published, &bias})) {
    check_can_learn("conv_transpose3d", weight.published);
    tape->record("conv_transpose3d", y, conv_transpose3d_gradient(x, weight.published, bias));
  }
  return y;
}

ConvChoice choose_conv(const ConvSite& site, const ConvChannels& channels) {
  return packing_backend().choose_conv(site, channels);
}

ConvBlockWeight pack_conv_block(const Tensor& weight, const ConvSite& site) {
  check_block_weight("pack_conv_block", weight, site);
  if (Context::current().tape()) return unpacked(weight, site, 0);
  return packing_backend().pack_conv_block(weight, site);
}

UpBlockWeight pack_up_block(const Tensor& weight, const Tensor& up, const Tensor& up_bias, const ConvSite& site) {
  check_block_weight("pack_up_block", weight, site);
  check_up_weight("pack_up_block", up, up_bias);
  SAT_CHECK(site.stride == 1 && up.shape[1] < weight.shape[1], "pack_up_block: stride ", site.stride, ", and ",
            up.shape[1], " of ", weight.shape[1], " inputs are up-sampled");
  if (Context::current().tape()) {
    return {{{}, up.shape[0], 8 * up.shape[1], 0, up}, up_bias, unpacked(weight, site, up.shape[1])};
  }
  return packing_backend().pack_up_block(weight, up, up_bias, site);
}

Features conv3d_norm(Features x, const ConvBlockWeight& weight, const NormWeights& norm) {
  check_features("conv3d_norm", x);
  check_voxels("conv3d_norm", x.values.shape);
  SAT_CHECK(x.values.shape[4] == weight.in && weight.up == 0, "conv3d_norm: x has shape ", x.values.shape,
            ", the weight has ", weight.in, " inputs, ", weight.up, " of them up-sampled");
  check_norm("conv3d_norm", norm, weight.out);
  Backend& backend = backend_of("conv3d_norm", {&x.values, &weight.panels, &norm.gain, &norm.bias});
  SAT_CHECK(backend.holds(weight.store), "conv3d_norm: results are held as f32 or f16, not ", weight.store);
  profile::Range range("conv3d_norm", x.values.shape);
  Tape* tape = following({&x.values, &weight.published, &norm.gain, &norm.bias});
  if (!tape) return backend.conv3d_norm(std::move(x), ready(weight), norm);
  check_can_learn("conv3d_norm", weight.published);
  Features y = computed_as_one([&] { return backend.conv3d_norm(x, ready(weight), norm); });
  tape->record("conv3d_norm", y.values, conv3d_norm_gradient(x, weight, norm, y));
  return y;
}

Features conv3d_norm_up(Features low, Features skip, const UpBlockWeight& weight, const NormWeights& norm) {
  check_features("conv3d_norm_up", low);
  check_features("conv3d_norm_up", skip);
  check_voxels("conv3d_norm_up", skip.values.shape);
  const ConvBlockWeight& conv = weight.conv;
  const Shape &small = low.values.shape, &large = skip.values.shape;
  SAT_CHECK(small[0] == large[0] && 2 * small[1] == large[1] && 2 * small[2] == large[2] && 2 * small[3] == large[3],
            "conv3d_norm_up: low has shape ", small, ", skip ", large, "; need half of each axis");
  SAT_CHECK(small[4] == weight.up.in && weight.up.out == 8 * conv.up && conv.in == conv.up + large[4],
            "conv3d_norm_up: low has shape ", small, ", skip ", large, ", the weight is for ", conv.up, " and ",
            conv.in - conv.up, " channels");
  check_norm("conv3d_norm_up", norm, conv.out);
  Backend& backend = backend_of("conv3d_norm_up",
                                {&low.values, &skip.values, &conv.panels, &weight.up.panels, &norm.gain, &norm.bias});
  SAT_CHECK(backend.holds(conv.store), "conv3d_norm_up: results are held as f32 or f16, not ", conv.store);
  profile::Range range("conv3d_norm_up", large);
  Tape* tape = following(
      {&low.values, &skip.values, &conv.published, &weight.up.published, &weight.up_bias, &norm.gain, &norm.bias});
  if (!tape) return backend.conv3d_norm_up(std::move(low), std::move(skip), ready(weight), norm);
  check_can_learn("conv3d_norm_up", conv.published);
  Features y = computed_as_one([&] { return backend.conv3d_norm_up(low, skip, ready(weight), norm); });
  tape->record("conv3d_norm_up", y.values, conv3d_norm_up_gradient(low, skip, weight, norm, y));
  return y;
}

Features instance_norm(Tensor x, const NormWeights& norm) {
  SAT_CHECK(x.shape.rank() == 5 && x.numel() > 0, "instance_norm: x has shape ", x.shape, ", needs [B, H, W, D, C]");
  check_f32("instance_norm", {&x});
  check_norm("instance_norm", norm, x.shape[4]);
  Backend& backend = backend_of("instance_norm", {&x, &norm.gain, &norm.bias});
  profile::Range range("instance_norm", x.shape);
  Tape* tape = following({&x, &norm.gain, &norm.bias});
  if (!tape) return backend.instance_norm(std::move(x), norm);
  Features y = backend.instance_norm(x, norm);
  tape->record("instance_norm", y.values, instance_norm_gradient(x, y, norm));
  return y;
}

Features sum_features(Features a, Features b, float slope) {
  check_features("sum_features", a);
  check_features("sum_features", b);
  SAT_CHECK(a.values.shape == b.values.shape, "sum_features: shapes ", a.values.shape, " and ", b.values.shape);
  Backend& backend = backend_of("sum_features", {&a.values, &b.values});
  profile::Range range("sum_features", a.values.shape);
  Tape* tape = following({&a.values, &b.values});
  const auto takes = [](const Tensor& x) { return x.dtype == DType::f32 && is_last_reference(x); };
  Tensor y = takes(a.values)   ? a.values
             : takes(b.values) ? b.values
                               : Tensor(a.values.shape, DType::f32, a.values.device);
  const Tensor first = a.values, second = b.values;
  backend.sum_features(y, a, b, slope);
  if (tape) tape->record("sum_features", y, sum_features_gradient(first, second, y, slope));
  return Features{std::move(y)};
}

Tensor materialize(Features x) {
  Backend& backend = check_features("materialize", x);
  if (x.center.empty() && x.values.dtype == DType::f32) return x.values;
  profile::Range range("materialize", x.values.shape);
  const uint64_t history = x.values.history;  // the gradient of features is that of their final values
  Tensor y = backend.materialize(std::move(x));
  y.history = history;
  return y;
}

}  // namespace sat
