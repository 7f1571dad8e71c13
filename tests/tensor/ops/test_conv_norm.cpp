// Convolutions whose norm is left to their readers, beside the table of ops: every method of conv_method.h on hard data
// and in both precisions; one form of the vector code against another; and results written over their inputs.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/tensor/cpu/conv/conv_method.h"
#include "sat/tensor/cpu/winograd/winograd.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;
using namespace sat::cpu;

namespace {

struct Case {
  std::array<int64_t, 3> size;
  int64_t batch, in, out;
};

/// Features with a pending norm, and what follows.
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

ConvSite site_of(ConvMethod method) {
  ConvSite site;
  site.variant = info_of(method).name;
  site.stride = stride_of(method);
  return site;
}

ConvBlockWeight packed(const Tensor& weight, ConvMethod method, DType store = DType::f32) {
  ConvBlockWeight block = pack_conv_block(weight, site_of(method));
  block.store = store;
  return block;
}

Tiles tiles_for(ConvMethod method) { return method == ConvMethod::amx_bf16 ? Tiles::yes : Tiles::no; }

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
double convolved_at(const Features& x, const Tensor& weight, int64_t stride, int64_t b, std::array<int64_t, 3> at,
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
  Context context(options_of(best_cpu_level(), 2, tiles_for(method)));
  UseContext use(context);
  const int64_t out = weight.shape[0], stride = stride_of(method);
  const NormWeights norm{field("gain", {out}, 0, 1), field("bias", {out}, 0)};
  const Features y = conv3d_norm(x, packed(weight, method, fast ? DType::f16 : DType::f32), norm);
  const Tensor raw = y.values.cast(DType::f32);
  const Shape& shape = raw.shape;
  double error = 0, variance = 0;
  const int64_t voxels = shape[1] * shape[2] * shape[3], samples = everywhere ? voxels : 40;
  for (int64_t o = 0; o < out; o += std::max<int64_t>(1, out / (everywhere ? 4 : 16))) {
    double sum = 0, squares = 0;
    for (int64_t s = 0; s < samples; ++s) {
      const int64_t v = everywhere ? s : s * 7919 % voxels;
      const std::array<int64_t, 3> at{v / shape[3] / shape[2], v / shape[3] % shape[2], v % shape[3]};
      const double want = convolved_at(x, weight, stride, 0, at, o);
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

TEST_CASE("all forms of a Winograd method give the same bits, for any number of threads") {
  const Inputs inputs = inputs_of({{9, 13, 17}, 1, 24, 40});
  for (const ConvMethodInfo& info : conv_methods()) {
    if (info.method == ConvMethod::direct || info.method == ConvMethod::amx_bf16) continue;
    CAPTURE(info.name);
    const auto compute = [&] { return conv3d_norm(inputs.x, packed(inputs.weight, info.method), inputs.norm).values; };
    const Tensor plain = computed(CpuLevel::plain, 1, compute);
    for (CpuLevel level : levels()) CHECK(same_bits(computed(level, 3, compute), plain));
    CHECK(difference_by_threads(compute) == "");
  }
}

TEST_CASE("weights that are large when transformed are kept as taps, and convolve as others do") {
  const WinogradKind kind = winograd_kind(ConvMethod::winograd_444);
  constexpr int64_t in = 224, out = 192;
  CHECK(winograd_transforms_late(kind, in, out));
  CHECK_FALSE(winograd_transforms_late(kind, 128, 128));
  const Tensor weight = offset_weight(out, in);
  CHECK(packed(weight, ConvMethod::winograd_444).panels.numel() == in * out * 27);
  const Features x{field("x", {1, 6, 5, 7, in}, 1)};
  CHECK(rms_error(ConvMethod::winograd_444, x, weight) <= info_of(ConvMethod::winograd_444).error);
}

TEST_CASE("transformed weights have the same bits on every level, for any number of threads") {
  const Tensor weight = field("weight", {24, 33, 3, 3, 3}, 1);
  for (const ConvMethod method : {ConvMethod::winograd_222, ConvMethod::winograd_644, ConvMethod::winograd_stride2}) {
    CAPTURE(info_of(method).name);
    const auto compute = [&] { return winograd_panels(winograd_taps(weight), winograd_kind(method), 20); };
    const Tensor plain = computed(CpuLevel::plain, 1, compute);
    for (CpuLevel level : levels()) CHECK(same_bits(computed(level, 3, compute), plain));
  }
}

TEST_CASE("results that are streamed past the caches are those that are stored, statistics included") {
  constexpr int64_t tiles = 2, outputs = 4, block = 32, D = tiles * outputs, points = 6;
  const Tensor back = field("back", {points, outputs, tiles, block}, 1);
  for (CpuLevel level : levels()) {
    Context context(options_of(level, 1, Tiles::no));
    UseContext use(context);
    Tensor planes[2] = {Tensor({4, D, block}), Tensor({4, D, block})},
           counted[2] = {Tensor({3, block}), Tensor({3, block})};
    for (int streamed = 0; streamed < 2; ++streamed) {
      float *to = planes[streamed].data<float>(), *counts = counted[streamed].data<float>();
      void* const plane[] = {to, to + D * block, to + 2 * D * block, to + 3 * D * block};
      const WinogradResult result{plane,
                                  4,
                                  streamed ? WinogradStore::streamed : WinogradStore::f32,
                                  block,
                                  1,
                                  D,
                                  0,
                                  0,
                                  0,
                                  block,
                                  counts,
                                  counts + block,
                                  counts + 2 * block};
      current_winograd().epilogue[size_t(AxisKind::f4)](result, back.data<float>(), outputs * tiles * block,
                                                        tiles * block, tiles, outputs, 0, true);
    }
    CHECK(same_bits(planes[0], planes[1]));
    CHECK(same_bits(counted[0], counted[1]));
  }
}

TEST_CASE("every method keeps its error bound on uniform and on realistic data, short sums and long") {
  for (const auto& sizes : {std::pair<int64_t, int64_t>{64, 18}, {128, 14}, {512, 8}}) {
    const int64_t in = sizes.first, side = sizes.second;
    const Features uniform{field("x", {1, side, side, side, in}, 1)};
    const Features smooth = realistic({side, side, side}, in);
    const Tensor weight = offset_weight(32, in);
    for (const ConvMethodInfo& info : conv_methods()) {
      if (in > info.most_inputs) continue;
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

TEST_CASE("what is not finite, or too large for f16, is refused before it can spread") {
  Inputs inputs = inputs_of({{8, 8, 8}, 1, 16, 16});
  const ConvBlockWeight weight = packed(inputs.weight, ConvMethod::winograd_444);
  inputs.x.values.data<float>()[77] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(conv3d_norm(inputs.x, weight, inputs.norm), doctest::Contains("is not finite"), Error);

  Inputs large = inputs_of({{8, 8, 8}, 1, 16, 16});
  for (int64_t i = 0; i < large.weight.numel(); ++i) large.weight.data<float>()[i] *= 1e5f;
  for (ConvMethod method : {ConvMethod::winograd_444, ConvMethod::direct}) {
    CHECK_THROWS_WITH_AS(conv3d_norm(large.x, packed(large.weight, method, DType::f16), large.norm),
                         doctest::Contains("leaves the range of f16"), Error);
  }
}

TEST_CASE("a chain of convolutions is written over its input, forth and back, with the bits of separate volumes") {
  constexpr int64_t kPlanes = 60;  // enough for room beside the volume
  const Inputs inputs = inputs_of({{kPlanes, 6, 5}, 1, 16, 16});
  const auto chain = [&](const ConvBlockWeight& weight, bool keep) {
    std::vector<Features> kept;
    Features y = inputs.x;
    for (int layer = 0; layer < 4; ++layer) {
      y = conv3d_norm(std::move(y), weight, inputs.norm);
      if (keep) kept.push_back(y);
    }
    return y;
  };
  for (const ConvMethod method : {ConvMethod::direct, ConvMethod::winograd_222, ConvMethod::winograd_244,
                                  ConvMethod::winograd_444, ConvMethod::winograd_644, ConvMethod::amx_bf16}) {
    CAPTURE(info_of(method).name);
    for (const CpuLevel level : levels()) {
      if (method == ConvMethod::amx_bf16 && level != best_cpu_level()) continue;  // the same loops at every level
      CAPTURE(name_of(level));
      Features results[2];
      int64_t peaks[2];
      for (const int keep : {0, 1}) {
        Context context(options_of(level, 2, tiles_for(method)));
        UseContext use(context);
        const ConvBlockWeight weight = packed(inputs.weight, method);
        context.memory()->reset_peak();
        results[keep] = chain(weight, keep == 1);
        peaks[keep] = context.memory()->peak_bytes();
      }
      const Features &over = results[0], &apart = results[1];
      CHECK(same_bits(over.values, apart.values));
      CHECK(same_bits(over.center, apart.center));
      CHECK(same_bits(over.factor, apart.factor));
      CHECK(same_bits(over.shift, apart.shift));
      CHECK(same_bits(over.rstd, apart.rstd));
      if (method != ConvMethod::direct) CHECK(peaks[1] - peaks[0] > 2 * inputs.x.values.bytes());
    }
  }
}

TEST_CASE("a convolution of an up-sampled and a skipped volume may be written over the skipped one") {
  const int64_t H = 30, W = 3, D = 4, in = 20, middle = 16, others = 16, out = 16;
  const Inputs low = inputs_of({{H, W, D}, 1, in, 1});
  const Tensor up = field("up", {in, middle, 2, 2, 2}, 0.3), up_bias = field("up bias", {middle}, 0.3);
  const Tensor weight = field("weight", {out, middle + others, 3, 3, 3}, 0.06);
  const NormWeights norm{field("gain", {out}, 0.3, 1), field("bias", {out}, 0.5)};
  const Inputs skip = inputs_of({{2 * H, 2 * W, 2 * D}, 1, others, others});
  for (const CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    Context context(options_of(level, 2));
    UseContext use(context);
    const ConvBlockWeight own = packed(skip.weight, ConvMethod::winograd_444);
    const UpBlockWeight wide = pack_up_block(weight, up, up_bias, site_of(ConvMethod::winograd_444));
    for (const int layers : {1, 2}) {  // with the room before the skip, and then behind it
      Features over = skip.x;
      for (int layer = 0; layer < layers; ++layer) over = conv3d_norm(std::move(over), own, norm);
      Features apart = over;
      apart.values = over.values.clone();
      const void* before = over.values.raw();
      const auto* buffer = over.values.buffer.get();
      const Features result = conv3d_norm_up(low.x, std::move(over), wide, norm);
      CHECK(result.values.buffer.get() == buffer);
      CHECK(result.values.raw() != before);
      const Features separate = conv3d_norm_up(low.x, apart, wide, norm);
      CHECK(same_bits(result.values, separate.values));
      CHECK(same_bits(result.rstd, separate.rstd));
    }
  }
}

TEST_CASE("statistics hold where the mean dwarfs the deviation, over many slabs, with the far values first") {
  const int64_t voxels = 64 * 64 * 50;
  Tensor x({1, 64, 64, 50, 3}), identity = zeros({3, 3, 3, 3, 3});
  const Tensor noise = field("noise", {voxels, 3}, 1);
  for (int64_t v = 0; v < voxels; ++v) {
    for (int64_t c = 0; c < 3; ++c) {
      const double middle = c == 0 ? 1e4 : c == 1 ? (v < 700 ? 0 : 1e4) : -3e5;
      x.data<float>()[v * 3 + c] = float(middle) + noise.data<float>()[v * 3 + c];
    }
  }
  for (int64_t c = 0; c < 3; ++c) identity.data<float>()[(c * 3 + c) * 27 + 13] = 1;
  const NormWeights norm{full({3}, 1), field("bias", {3}, 1)};
  const Tensor want =
      normed(Doubles(x), Doubles(norm.gain), Doubles(norm.bias), double(norm.eps), double(norm.slope)).rounded();
  for (const CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const auto compute = [&] { return materialize(conv3d_norm({x}, packed(identity, ConvMethod::direct), norm)); };
    const Tensor y = computed(level, 1, compute);
    CHECK(mismatch(y, want, {2e-6, 2e-6}) == "");
    CHECK(same_bits(computed(level, 3, compute), y));
  }
}

TEST_CASE("a sample's features do not depend on the other samples") {
  const Inputs both = inputs_of({{5, 6, 7}, 2, 20, 24});
  for (const ConvMethod method : {ConvMethod::direct, ConvMethod::winograd_444}) {
    for (const CpuLevel level : levels()) {
      CAPTURE(name_of(level));
      const auto run = [&](const Features& x) {
        return computed(level, 1, [&] { return materialize(conv3d_norm(x, packed(both.weight, method), both.norm)); });
      };
      CHECK(same_bits(run(slice(both.x, 1, 2)).select(0), run(both.x).select(1)));
    }
  }
}

TEST_CASE("a method is named, found by its name, and refused where it cannot serve") {
  for (const ConvMethodInfo& info : conv_methods()) {
    CHECK(parse_conv_method(info.name) == info.method);
    CHECK(std::string(info_of(info.method).name) == info.name);
  }
  CHECK_THROWS_WITH_AS(parse_conv_method("winograd"), doctest::Contains("it is one of direct, winograd-2x2x2"), Error);
  const Inputs inputs = inputs_of({{4, 4, 4}, 1, 16, 16});
  ConvSite site = site_of(ConvMethod::winograd_stride2);
  CHECK(choose_conv(site, {16, 16}).variant == "winograd-stride2");
  site.stride = 1;
  CHECK_THROWS_WITH_AS(pack_conv_block(inputs.weight, site), doctest::Contains("winograd-stride2 computes stride 2"),
                       Error);
  if (!amx_available()) {
    CHECK_THROWS_WITH_AS(packed(inputs.weight, ConvMethod::amx_bf16), doctest::Contains("matrix units"), Error);
  }
  CHECK(choose_conv_method({64, 64, 3, 1, {288, 288, 96}}, Precision::exact, CpuLevel::plain) == ConvMethod::direct);
  CHECK(choose_conv_method({1, 64, 3, 1, {288, 288, 96}}, Precision::exact, CpuLevel::avx2) == ConvMethod::direct);
  CHECK(choose_conv_method({64, 64, 3, 1, {288, 288, 96}, 1e-7}, Precision::exact, CpuLevel::avx2) ==
        ConvMethod::direct);
}

TEST_CASE("a volume without voxels is refused, since nothing can be normed") {
  const NormWeights norm{full({16}, 1), full({16}, 0)};
  for (const int64_t channels : {1, 16}) {
    const ConvBlockWeight weight = packed(field("weight", {16, channels, 3, 3, 3}, 1), ConvMethod::direct);
    CHECK_THROWS_WITH_AS(conv3d_norm({zeros({1, 4, 0, 5, channels})}, weight, norm),
                         doctest::Contains("there are no voxels"), Error);
  }
}

TEST_CASE("results are held as the weight says, in half width at the two highest resolutions of fast precision") {
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    ContextOptions options;
    options.precision = precision;
    Context context(options);
    UseContext use(context);
    for (const int halvings : {0, 1, 2}) {
      ConvSite site;
      site.halvings = halvings;
      const bool half = precision == Precision::fast && halvings < 2;
      CHECK(choose_conv(site, {64, 64}).store == (half ? DType::f16 : DType::f32));
      const Inputs inputs = inputs_of({{7, 9, 6}, 1, 20, 33});
      const Features y = conv3d_norm(inputs.x, pack_conv_block(inputs.weight, site), inputs.norm);
      CHECK(y.values.dtype == (half ? DType::f16 : DType::f32));
    }
  }
}
