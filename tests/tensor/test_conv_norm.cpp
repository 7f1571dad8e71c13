// Convolutions whose norm is left to their readers: every method of conv_method.h against the definition in double, at
// awkward sizes, on hard data, in both precisions; one form of the vector code against another; and results written
// over their inputs.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Case {
  std::array<int64_t, 3> size;
  int64_t batch, in, out;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.batch << " x [" << c.size[0] << ", " << c.size[1] << ", " << c.size[2] << "], " << c.in << " -> "
             << c.out;
}

/// Features that owe a norm, and what follows.
struct Inputs {
  Features x;
  Tensor weight;
  NormWeights norm;
};

Inputs inputs_of(const Case& c, DType dtype = DType::f32) {
  Inputs i;
  i.x.values = field("x", {c.batch, c.size[0], c.size[1], c.size[2], c.in}, 1).cast(dtype);
  i.x.center = field("center", {c.batch, c.in}, 0.2);
  i.x.factor = field("factor", {c.batch, c.in}, 0.5, 1);
  i.x.shift = field("shift", {c.batch, c.in}, 0.5);
  i.x.slope = 0.01f;
  i.weight = field("weight", {c.out, c.in, 3, 3, 3}, 2 / std::sqrt(27. * double(c.in)));
  i.norm = {field("gain", {c.out}, 0.3, 1), field("bias", {c.out}, 0.5)};
  return i;
}

int64_t stride_of(ConvMethod method) { return std::max<int64_t>(1, info_of(method).stride); }

/// One value of the input as its reader must see it, in double.
double value(const Features& x, int64_t b, int64_t voxel, int64_t c) {
  const Shape& shape = x.values.shape;
  const int64_t channels = shape[4], at = (b * shape[1] * shape[2] * shape[3] + voxel) * channels + c;
  const float raw = x.values.dtype == DType::f16 ? to_float(x.values.data<f16>()[at]) : x.values.data<float>()[at];
  if (x.center.empty()) return double(raw);
  const int64_t n = b * channels + c;
  const double y = (double(raw) - double(x.center.data<float>()[n])) * double(x.factor.data<float>()[n]) +
                   double(x.shift.data<float>()[n]);
  return y < 0 ? double(x.slope) * y : y;
}

/// One output of the convolution, in double.
double convolved(const Features& x, const Tensor& weight, int64_t stride, int64_t b, std::array<int64_t, 3> at,
                 int64_t o) {
  const Shape& shape = x.values.shape;
  double sum = 0;
  for (int64_t tap = 0; tap < 27; ++tap) {
    const int64_t h = at[0] * stride + tap / 9 - 1, w = at[1] * stride + tap / 3 % 3 - 1;
    const int64_t d = at[2] * stride + tap % 3 - 1;
    if (h < 0 || w < 0 || d < 0 || h >= shape[1] || w >= shape[2] || d >= shape[3]) continue;
    for (int64_t c = 0; c < shape[4]; ++c) {
      sum += value(x, b, (h * shape[2] + w) * shape[3] + d, c) *
             double(weight.data<float>()[(o * shape[4] + c) * 27 + tap]);
    }
  }
  return sum;
}

/// conv -> instance norm -> leaky ReLU by definition, in double.
Tensor defined(const Inputs& i, int64_t stride) {
  const Shape& in = i.x.values.shape;
  const Tensor y(
      {in[0], (in[1] - 1) / stride + 1, (in[2] - 1) / stride + 1, (in[3] - 1) / stride + 1, i.weight.shape[0]});
  const int64_t voxels = y.shape[1] * y.shape[2] * y.shape[3], out = y.shape[4];
  std::vector<double> raw(static_cast<size_t>(voxels));
  for (int64_t b = 0; b < y.shape[0]; ++b) {
    for (int64_t o = 0; o < out; ++o) {
      double mean = 0, variance = 0;
      for (int64_t v = 0; v < voxels; ++v) {
        raw[size_t(v)] = convolved(i.x, i.weight, stride, b,
                                   {v / y.shape[3] / y.shape[2], v / y.shape[3] % y.shape[2], v % y.shape[3]}, o);
        mean += raw[size_t(v)] / double(voxels);
      }
      for (const double r : raw) variance += (r - mean) * (r - mean) / double(voxels);
      for (int64_t v = 0; v < voxels; ++v) {
        const double n =
            (raw[size_t(v)] - mean) / std::sqrt(variance + double(i.norm.eps)) * double(i.norm.gain.data<float>()[o]) +
            double(i.norm.bias.data<float>()[o]);
        y.data<float>()[(b * voxels + v) * out + o] = float(n < 0 ? double(i.norm.slope) * n : n);
      }
    }
  }
  return y;
}

/// Features like those of a trained network: smooth fields with noise, which a norm with weights has passed.
Features realistic(std::array<int64_t, 3> size, int64_t channels) {
  const Tensor noise = field("noise", {size[0], size[1], size[2], channels}, 0.5);
  Features x{Tensor({1, size[0], size[1], size[2], channels})};
  for (int64_t at = 0; at < noise.numel(); ++at) {
    const int64_t c = at % channels, d = at / channels % size[2], w = at / channels / size[2] % size[1];
    const int64_t h = at / channels / size[2] / size[1];
    const double smooth =
        std::sin(0.23 * double(h) + double(c)) + std::sin(0.31 * double(w)) * std::sin(0.17 * double(d + c));
    x.values.data<float>()[at] = float(smooth) + noise.data<float>()[at];
  }
  x.center = field("center", {1, channels}, 0);
  x.factor = field("factor", {1, channels}, 0.25, 0.5);
  x.shift = field("shift", {1, channels}, 0.2);
  x.slope = 0.01f;
  return x;
}

/// Root mean square error of a method's raw results, of their deviation: over some voxels of 16 channels, or over
/// every voxel of 4.
double rms_error(ConvMethod method, const Features& x, const Tensor& weight, bool fast = false,
                 bool everywhere = false) {
  ContextOptions options;
  options.threads = 2;
  Context context(options);
  UseContext use(context);
  const int64_t out = weight.shape[0], stride = stride_of(method);
  const NormWeights norm{field("gain", {out}, 0, 1), field("bias", {out}, 0)};
  const Features y = conv3d_norm(x, pack_conv3d(weight, method), norm, stride, fast ? DType::f16 : DType::f32);
  const Tensor raw = y.values.cast(DType::f32);
  const Shape& shape = raw.shape;
  double error = 0, variance = 0;
  const int64_t voxels = shape[1] * shape[2] * shape[3], samples = everywhere ? voxels : 40;
  for (int64_t o = 0; o < out; o += std::max<int64_t>(1, out / (everywhere ? 4 : 16))) {
    double sum = 0, squares = 0;
    for (int64_t s = 0; s < samples; ++s) {
      const int64_t v = everywhere ? s : s * 7919 % voxels;
      const std::array<int64_t, 3> at{v / shape[3] / shape[2], v / shape[3] % shape[2], v % shape[3]};
      const double want = convolved(x, weight, stride, 0, at, o);
      const double got = double(raw.data<float>()[((at[0] * shape[2] + at[1]) * shape[3] + at[2]) * out + o]);
      error += (got - want) * (got - want);
      sum += want;
      squares += want * want;
    }
    variance += squares - sum * sum / double(samples);
  }
  return std::sqrt(error / variance);
}

Tensor offset_weight(int64_t out, int64_t in) {
  return field("weight", {out, in, 3, 3, 3}, 1 / std::sqrt(27. * double(in)), 0.1 / std::sqrt(27. * double(in)));
}

}  // namespace

TEST_CASE("every method follows the definition at awkward sizes and channels") {
  const std::vector<Case> cases = {{{1, 1, 1}, 1, 3, 5},   {{2, 1, 3}, 2, 8, 17},   {{15, 2, 5}, 1, 24, 8},
                                   {{3, 17, 4}, 1, 1, 48}, {{5, 4, 31}, 1, 16, 16}, {{1, 33, 2}, 1, 48, 3},
                                   {{7, 9, 6}, 2, 20, 65}, {{4, 4, 4}, 1, 96, 24}};
  for (const Case& c : cases) {
    CAPTURE(c);
    for (int64_t stride : {1, 2}) {
      const Inputs inputs = inputs_of(c);
      const Tensor want = defined(inputs, stride);
      for (const ConvMethodInfo& info : conv_methods()) {
        if (info.stride != 0 && info.stride != stride) continue;
        CAPTURE(info.name);
        const auto compute = [&] {
          return finished(conv3d_norm(inputs.x, pack_conv3d(inputs.weight, info.method), inputs.norm, stride));
        };
        const double bound = std::max(2e-4, 10 * info.error);
        for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 2, compute), want, {bound, bound}) == "");
      }
    }
  }
}

TEST_CASE("all forms of a Winograd method give the same bits, for any number of threads") {
  const Inputs inputs = inputs_of({{9, 13, 17}, 1, 24, 40});
  for (const ConvMethodInfo& info : conv_methods()) {
    if (info.method == ConvMethod::direct || info.method == ConvMethod::amx_bf16) continue;
    CAPTURE(info.name);
    const auto compute = [&] {
      return conv3d_norm(inputs.x, pack_conv3d(inputs.weight, info.method), inputs.norm, stride_of(info.method)).values;
    };
    const Tensor plain = computed(CpuLevel::plain, 1, compute);
    for (CpuLevel level : levels()) CHECK(same_bits(computed(level, 3, compute), plain));
    CHECK(difference_by_threads(compute) == "");
  }
}

TEST_CASE("every method keeps its error bound on uniform and on realistic data, short sums and long") {
  for (const auto& sizes : {std::pair<int64_t, int64_t>{64, 18}, {512, 8}}) {
    const int64_t in = sizes.first, side = sizes.second;
    const Features uniform{field("x", {1, side, side, side, in}, 1)};
    const Features smooth = realistic({side, side, side}, in);
    const Tensor weight = offset_weight(32, in);
    for (const ConvMethodInfo& info : conv_methods()) {
      CAPTURE(info.name);
      CAPTURE(in);
      CHECK(rms_error(info.method, uniform, weight) <= info.error);
      CHECK(rms_error(info.method, smooth, weight) <= info.error);
      CHECK(rms_error(info.method, smooth, weight, true) <= 1e-2);
    }
  }
}

TEST_CASE("what the table chooses in exact precision stays within 1e-5 where a voxel is far hotter than the rest") {
  const Tensor weight = offset_weight(64, 64);
  for (float hot : {50.f, 30000.f}) {
    Features x = realistic({12, 13, 14}, 64);
    for (int64_t c = 0; c < 64; ++c) x.values.data<float>()[((6 * 13 + 7) * 14 + 8) * 64 + c] = hot;
    for (int64_t stride : {1, 2}) {
      const ConvMethod method =
          choose_conv_method({64, 64, 3, stride, {288, 288, 96}}, Precision::exact, CpuLevel::avx2);
      CHECK(method != ConvMethod::direct);
      CHECK(rms_error(method, x, weight, false, true) <= 1e-5);
    }
  }
}

TEST_CASE("f16 features are read and written within the bound of fast precision") {
  const Inputs inputs = inputs_of({{7, 9, 6}, 1, 20, 33}, DType::f16);
  for (const ConvMethodInfo& info : conv_methods()) {
    CAPTURE(info.name);
    const Tensor want = defined(inputs, stride_of(info.method));
    for (CpuLevel level : levels()) {
      ContextOptions options;
      options.cpu = level;
      Context context(options);
      UseContext use(context);
      const Features y = conv3d_norm(inputs.x, pack_conv3d(inputs.weight, info.method), inputs.norm,
                                     stride_of(info.method), DType::f16);
      CHECK(y.values.dtype == DType::f16);
      const double bound = std::max(2e-3, 10 * info.error);
      CHECK(mismatch(finished(y), want, {bound, bound}) == "");
    }
  }
}

TEST_CASE("what is not finite, or too large for f16, is refused before it can spread") {
  Inputs inputs = inputs_of({{8, 8, 8}, 1, 16, 16});
  const PackedConv3d weight = pack_conv3d(inputs.weight, ConvMethod::winograd_444);
  inputs.x.values.data<float>()[77] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(conv3d_norm(inputs.x, weight, inputs.norm), doctest::Contains("is not finite"), Error);

  Inputs large = inputs_of({{8, 8, 8}, 1, 16, 16});
  for (int64_t i = 0; i < large.weight.numel(); ++i) large.weight.data<float>()[i] *= 1e5f;
  for (ConvMethod method : {ConvMethod::winograd_444, ConvMethod::direct}) {
    CHECK_THROWS_WITH_AS(conv3d_norm(large.x, pack_conv3d(large.weight, method), large.norm, 1, DType::f16),
                         doctest::Contains("leaves the range of f16"), Error);
  }
}

TEST_CASE("a chain of convolutions is written over its input, forth and back, with the bits of separate volumes") {
  const int64_t planes = 60;
  const Inputs inputs = inputs_of({{planes, 6, 5}, 1, 16, 16});
  const PackedConv3d weight = pack_conv3d(inputs.weight, ConvMethod::winograd_444);
  const auto chain = [&](bool keep) {
    std::vector<Features> kept;
    Features y = inputs.x;
    for (int layer = 0; layer < 4; ++layer) {
      y = conv3d_norm(std::move(y), weight, inputs.norm);
      if (keep) kept.push_back(y);
    }
    return finished(std::move(y));
  };
  ContextOptions options;
  options.threads = 2;
  int64_t peaks[2];
  Tensor results[2];
  for (int keep : {0, 1}) {
    Context context(options);
    UseContext use(context);
    results[keep] = chain(keep == 1);
    peaks[keep] = context.memory()->peak_bytes();
  }
  CHECK(same_bits(results[0], results[1]));
  const int64_t volume = inputs.x.values.bytes();
  CHECK(peaks[1] - peaks[0] > 2 * volume);
}

TEST_CASE("a convolution of an up-sampled and a skipped volume follows its parts, however it is cut into slabs") {
  const int64_t H = 30, W = 3, D = 4, in = 20, middle = 16, skip_channels = 16, out = 16;
  const Inputs low = inputs_of({{H, W, D}, 1, in, 1});
  const Tensor up = field("up", {in, middle, 2, 2, 2}, 0.3), up_bias = field("up bias", {middle}, 0.3);
  const Tensor weight = field("weight", {out, middle + skip_channels, 3, 3, 3}, 0.06);
  const NormWeights norm{field("gain", {out}, 0.3, 1), field("bias", {out}, 0.5)};
  Features skip{field("skip", {1, 2 * H, 2 * W, 2 * D, skip_channels}, 1)};
  skip.center = field("skip center", {1, skip_channels}, 0.2);
  skip.factor = field("skip factor", {1, skip_channels}, 0.5, 1);
  skip.shift = field("skip shift", {1, skip_channels}, 0.5);
  skip.slope = 0.01f;
  const PackedMatrix packed_up = pack_conv_transpose3d(up);
  const Tensor joined = concat_channels({conv_transpose3d(finished(low.x), packed_up, up_bias), finished(skip)});
  const Tensor want = defined({{joined}, weight, norm}, 1);
  for (ConvMethod method :
       {ConvMethod::direct, ConvMethod::winograd_222, ConvMethod::winograd_444, ConvMethod::amx_bf16}) {
    CAPTURE(info_of(method).name);
    const double bound = std::max(1e-4, 10 * info_of(method).error);
    const auto compute = [&] {
      return finished(conv3d_norm_up(low.x, packed_up, up_bias, skip, pack_conv3d(weight, method, middle), norm));
    };
    for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 2, compute), want, {bound, bound}) == "");
    CHECK(difference_by_threads(compute) == "");
  }

  // Over the skip's memory, with the room before it and then behind it.
  Context context;
  UseContext use(context);
  const PackedConv3d own =
      pack_conv3d(field("own", {skip_channels, skip_channels, 3, 3, 3}, 0.1), ConvMethod::winograd_444);
  const PackedConv3d wide = pack_conv3d(weight, ConvMethod::winograd_444, middle);
  for (int layers : {1, 2}) {
    Features over = skip;
    for (int layer = 0; layer < layers; ++layer) over = conv3d_norm(std::move(over), own, norm);
    const Features apart = {over.values.clone(), over.center, over.factor, over.shift, over.slope};
    const void* before = over.values.raw();
    const auto* buffer = over.values.buffer.get();
    const Features result = conv3d_norm_up(low.x, packed_up, up_bias, std::move(over), wide, norm);
    CHECK(result.values.buffer.get() == buffer);
    CHECK(result.values.raw() != before);
    CHECK(same_bits(finished(result), finished(conv3d_norm_up(low.x, packed_up, up_bias, apart, wide, norm))));
  }
}

TEST_CASE("a method is named, found by its name, and refused where it cannot serve") {
  for (const ConvMethodInfo& info : conv_methods()) {
    CHECK(parse_conv_method(info.name) == info.method);
    CHECK(std::string(info_of(info.method).name) == info.name);
  }
  CHECK_THROWS_WITH_AS(parse_conv_method("winograd"), doctest::Contains("it is one of direct, winograd-2x2x2"), Error);
  const Inputs inputs = inputs_of({{4, 4, 4}, 1, 16, 16});
  const PackedConv3d strided = pack_conv3d(inputs.weight, ConvMethod::winograd_stride2);
  CHECK_THROWS_WITH_AS(conv3d_norm(inputs.x, strided, inputs.norm, 1), doctest::Contains("winograd-stride2"), Error);
  CHECK_THROWS_WITH_AS(conv3d(inputs.x.values, strided, {}), doctest::Contains("packed for winograd-stride2"), Error);
  CHECK(choose_conv_method({64, 64, 3, 1, {288, 288, 96}}, Precision::exact, CpuLevel::plain) == ConvMethod::direct);
  CHECK(choose_conv_method({1, 64, 3, 1, {288, 288, 96}}, Precision::exact, CpuLevel::avx2) == ConvMethod::direct);
  CHECK(choose_conv_method({64, 64, 3, 1, {288, 288, 96}, 1e-7}, Precision::exact, CpuLevel::avx2) ==
        ConvMethod::direct);
}
