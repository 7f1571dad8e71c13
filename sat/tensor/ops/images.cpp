// Images: 2-D convolutions as 3-D ones of depth 1, patches, and axes that are sampled anew.
#include <algorithm>
#include <cmath>

#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

void check_image(const char* op, const Tensor& x) {
  SAT_CHECK(x.shape.rank() == 4, op, ": x has shape ", x.shape, ", needs [B, H, W, C]");
  check_f32(op, {&x});
}

double cubic(double distance, double a) {
  const double s = std::abs(distance);
  if (s <= 1) return ((a + 2) * s - (a + 3)) * s * s + 1;
  return s < 2 ? ((a * s - 5 * a) * s + 8 * a) * s - 4 * a : 0;
}

AxisTaps room_for(const char* op, int64_t in, int64_t out, int64_t taps) {
  SAT_CHECK(in > 0 && out > 0, op, ": from ", in, " to ", out, " samples");
  AxisTaps sampled;
  sampled.in = in;
  sampled.taps = taps;
  sampled.index.reserve(size_t(out * taps));
  sampled.weight.reserve(size_t(out * taps));
  return sampled;
}

}  // namespace

PackedConv3d pack_conv2d(const Tensor& weight) {
  SAT_CHECK(weight.shape.rank() == 4, "pack_conv2d: weight has shape ", weight.shape, ", needs [out, in, kh, kw]");
  return pack_conv3d(reshape(weight, {weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3], 1}));
}

Tensor conv2d(const Tensor& x, const PackedConv3d& weight, const Tensor& bias, int64_t stride, int64_t padding) {
  check_image("conv2d", x);
  const Tensor deep = reshape(x, {x.shape[0], x.shape[1], x.shape[2], 1, x.shape[3]});
  const Tensor y = conv3d(deep, weight, bias, {{stride, stride, 1}, {padding, padding, 0}});
  return reshape(y, {y.shape[0], y.shape[1], y.shape[2], y.shape[4]});
}

PackedMatrix pack_conv_transpose2d(const Tensor& weight) {
  SAT_CHECK(weight.shape.rank() == 4 && weight.shape[2] == weight.shape[3], "pack_conv_transpose2d: weight has shape ",
            weight.shape, ", needs [in, out, k, k]");
  check_published("pack_conv_transpose2d", {&weight});
  const int64_t in = weight.shape[0], out = weight.shape[1], taps = weight.shape[2] * weight.shape[3];
  const Tensor by_tap = transpose(reshape(weight, {in, out, taps}));  // [in, (row, column), out]
  return pack_linear(transpose(reshape(by_tap, {in, taps * out})));
}

Tensor conv_transpose2d(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, int64_t k) {
  check_image("conv_transpose2d", x);
  SAT_CHECK(k > 0 && weight.out % (k * k) == 0, "conv_transpose2d: a weight of ", weight.out, " outputs for ", k, " x ",
            k, " pixels");
  const std::vector<Tensor> every(size_t(bias.empty() ? 0 : k * k), bias);
  return join_patches(linear(x, weight, every.empty() ? Tensor() : concat_channels(every)), k);
}

Tensor split_patches(const Tensor& x, int64_t p) {
  check_image("split_patches", x);
  SAT_CHECK(p > 0 && p <= x.shape[1] && p <= x.shape[2], "split_patches: patches of ", p, " x ", p, " pixels of ",
            x.shape);
  Backend& backend = backend_of("split_patches", {&x});
  profile::Range range("split_patches", x.shape);
  Tensor y({x.shape[0], x.shape[1] / p, x.shape[2] / p, p * p * x.shape[3]}, DType::f32, x.device);
  backend.split_patches(y, x, p);
  if (Tape* tape = following({&x})) tape->record("split_patches", y, split_patches_gradient(x, p));
  return y;
}

Tensor join_patches(const Tensor& x, int64_t p) {
  check_image("join_patches", x);
  SAT_CHECK(p > 0 && x.shape[3] % (p * p) == 0, "join_patches: ", x.shape[3], " values are no patch of ", p, " x ", p,
            " pixels");
  Backend& backend = backend_of("join_patches", {&x});
  profile::Range range("join_patches", x.shape);
  Tensor y({x.shape[0], x.shape[1] * p, x.shape[2] * p, x.shape[3] / (p * p)}, DType::f32, x.device);
  backend.join_patches(y, x, p);
  if (Tape* tape = following({&x})) tape->record("join_patches", y, join_patches_gradient(x, p));
  return y;
}

PackedMatrix pack_patch_embedding(const Tensor& weight) {
  SAT_CHECK(weight.shape.rank() == 4 && weight.shape[2] == weight.shape[3], "pack_patch_embedding: weight has shape ",
            weight.shape, ", needs [out, in, p, p]");
  check_published("pack_patch_embedding", {&weight});
  const int64_t out = weight.shape[0], in = weight.shape[1], pixels = weight.shape[2] * weight.shape[3];
  return pack_linear(reshape(transpose(reshape(weight, {out, in, pixels})), {out, pixels * in}));
}

AxisTaps linear_taps(int64_t in, int64_t out, bool aligned) {
  AxisTaps sampled = room_for("linear_taps", in, out, 2);
  // The positions are f32 as in the reference: a double's would cross whole numbers elsewhere.
  const float step = !aligned ? float(in) / float(out) : out > 1 ? float(in - 1) / float(out - 1) : 0.f;
  for (int64_t i = 0; i < out; ++i) {
    const float at = aligned ? step * float(i) : std::max(0.f, step * (float(i) + 0.5f) - 0.5f);
    const int64_t below = std::min(int64_t(at), in - 1);
    const float share = at - float(below);
    sampled.index.insert(sampled.index.end(), {below, std::min(below + 1, in - 1)});
    sampled.weight.insert(sampled.weight.end(), {1 - share, share});
  }
  return sampled;
}

AxisTaps nearest_taps(int64_t in, int64_t out) {
  AxisTaps sampled = room_for("nearest_taps", in, out, 1);
  for (int64_t i = 0; i < out; ++i) {
    sampled.index.push_back(i * in / out);
    sampled.weight.push_back(1);
  }
  return sampled;
}

AxisTaps cubic_taps(int64_t in, int64_t out, double step) {
  AxisTaps sampled = room_for("cubic_taps", in, out, 4);
  if (step == 0) step = double(in) / double(out);
  for (int64_t i = 0; i < out; ++i) {
    const double at = (double(i) + 0.5) * step - 0.5;
    const auto below = int64_t(std::floor(at));
    for (int64_t tap = below - 1; tap < below + 3; ++tap) {
      sampled.index.push_back(std::clamp<int64_t>(tap, 0, in - 1));
      sampled.weight.push_back(float(cubic(at - double(tap), -0.75)));
    }
  }
  return sampled;
}

AxisTaps cubic_antialiased_taps(int64_t in, int64_t out) {
  SAT_CHECK(in > 0 && out > 0, "cubic_antialiased_taps: from ", in, " to ", out, " samples");
  const double step = double(in) / double(out), widened = std::max(step, 1.), support = 2 * widened;
  AxisTaps sampled = room_for("cubic_antialiased_taps", in, out, 2 * int64_t(std::ceil(support)) + 1);
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (double(i) + 0.5) * step;
    const int64_t first = std::max<int64_t>(0, int64_t(centre - support + 0.5));
    const int64_t last = std::min(in, int64_t(centre + support + 0.5));
    double total = 0;
    const auto weight = [&](int64_t at) { return cubic((double(at) - centre + 0.5) / widened, -0.5); };
    for (int64_t at = first; at < last; ++at) total += weight(at);
    for (int64_t tap = 0; tap < sampled.taps; ++tap) {
      const int64_t at = first + tap;
      sampled.index.push_back(std::min(at, in - 1));
      sampled.weight.push_back(at < last ? float(weight(at) / total) : 0.f);
    }
  }
  return sampled;
}

AxisTaps mean_taps(int64_t in, int64_t out) {
  const auto begin = [&](int64_t i) { return i * in / out; };
  const auto end = [&](int64_t i) { return ((i + 1) * in + out - 1) / out; };
  SAT_CHECK(in > 0 && out > 0, "mean_taps: from ", in, " to ", out, " samples");
  int64_t most = 1;
  for (int64_t i = 0; i < out; ++i) most = std::max(most, end(i) - begin(i));
  AxisTaps sampled = room_for("mean_taps", in, out, most);
  for (int64_t i = 0; i < out; ++i) {
    const int64_t count = end(i) - begin(i);
    for (int64_t tap = 0; tap < most; ++tap) {
      sampled.index.push_back(begin(i) + std::min(tap, count - 1));
      sampled.weight.push_back(tap < count ? 1 / float(count) : 0.f);
    }
  }
  return sampled;
}

Tensor resample(const Tensor& x, int axis, const AxisTaps& taps) {
  SAT_CHECK(axis >= 0 && axis < x.shape.rank() && x.shape[axis] == taps.in, "resample: taps of ", taps.in,
            " samples for axis ", axis, " of ", x.shape);
  SAT_CHECK(
      taps.taps > 0 && taps.index.size() == taps.weight.size() && taps.out() * taps.taps == int64_t(taps.index.size()),
      "resample: ", taps.index.size(), " indices, ", taps.weight.size(), " weights of ", taps.taps, " a sample");
  for (int64_t index : taps.index) {
    SAT_CHECK(index >= 0 && index < taps.in, "resample: index ", index, " of ", taps.in, " samples");
  }
  check_f32("resample", {&x});
  Backend& backend = backend_of("resample", {&x});
  profile::Range range("resample", x.shape);
  Tensor y(x.shape.with(axis, taps.out()), DType::f32, x.device);
  backend.resample(y, x, axis, taps);
  if (Tape* tape = following({&x})) tape->record("resample", y, resample_gradient(x, axis, taps));
  return y;
}

Tensor resample2d(const Tensor& x, const AxisTaps& rows, const AxisTaps& columns) {
  check_image("resample2d", x);
  return resample(resample(x, 2, columns), 1, rows);
}

Tensor max_pool2d(const Tensor& x, int64_t k) {
  check_image("max_pool2d", x);
  SAT_CHECK(k > 0 && k <= x.shape[1] && k <= x.shape[2], "max_pool2d: windows of ", k, " x ", k, " pixels of ",
            x.shape);
  Backend& backend = backend_of("max_pool2d", {&x});
  profile::Range range("max_pool2d", x.shape);
  Tensor y({x.shape[0], x.shape[1] / k, x.shape[2] / k, x.shape[3]}, DType::f32, x.device);
  backend.max_pool2d(y, x, k);
  if (Tape* tape = following({&x})) tape->record("max_pool2d", y, max_pool2d_gradient(x, k));
  return y;
}

}  // namespace sat
