// Gradients of 3x3x3 convolutions against their definitions in double, at awkward sizes and on every CPU level; that
// they add to what is there, depend on no threads, and refuse what does not fit.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "sat/tensor/cpu/gradient/conv/conv_gradient.h"
#include "sat/tensor/cpu/gradient/conv/input_gradient.h"
#include "sat/tensor/cpu/gradient/conv/weight_gradient.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops/score_sizes.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;

namespace {

struct Case {
  int64_t batch;
  std::array<int64_t, 3> size;
  int64_t in, out, stride;
  int64_t first_in = 0, channels = 0;  // 0: all
};

const Case kCases[] = {
    {1, {1, 1, 1}, 1, 1, 1},      {2, {1, 5, 3}, 3, 17, 1},    {1, {7, 1, 9}, 17, 3, 1},
    {2, {4, 6, 1}, 48, 64, 1},    {1, {5, 9, 10}, 64, 48, 1},  {1, {8, 8, 12}, 64, 64, 1},
    {1, {13, 7, 6}, 32, 100, 1},  {1, {3, 3, 3}, 100, 80, 1},  {1, {6, 6, 6}, 130, 70, 1},
    {1, {7, 33, 40}, 1, 17, 1},   {2, {5, 6, 7}, 3, 64, 1},    {1, {6, 5, 9}, 96, 33, 1, 40, 30},
    {1, {12, 12, 12}, 24, 17, 1}, {1, {1, 1, 1}, 1, 1, 2},     {2, {1, 5, 2}, 3, 17, 2},
    {1, {7, 1, 9}, 17, 3, 2},     {2, {4, 6, 5}, 48, 64, 2},   {1, {11, 9, 17}, 64, 48, 2},
    {1, {16, 16, 16}, 64, 64, 2}, {1, {6, 6, 6}, 130, 70, 2},  {1, {10, 7, 6}, 96, 100, 2, 64, 32},
    {1, {3, 3, 3}, 100, 80, 2},   {1, {9, 24, 25}, 32, 16, 2},
};

std::string words_of(const Case& c) {
  return words(c.batch, " x [", c.size[0], ", ", c.size[1], ", ", c.size[2], "], ", c.in, " -> ", c.out, ", stride ",
               c.stride);
}

struct Inputs {
  Case sizes;
  int64_t channels;
  Shape x_shape, y_shape;
  Features x;
  Tensor dy, weight, before_x, before_w;

  explicit Inputs(const Case& c, DType held = DType::f32, bool norm = true)
      : sizes(c), channels(c.channels ? c.channels : c.in) {
    x_shape = {c.batch, c.size[0], c.size[1], c.size[2], channels};
    y_shape = {c.batch, 1, 1, 1, c.out};
    for (int axis = 1; axis < 4; ++axis) y_shape[axis] = (x_shape[axis] - 1) / c.stride + 1;
    const Shape parts{c.batch, channels};
    x.values = field("x", x_shape, 1).cast(held);
    if (norm) {
      x = {x.values, field("center", parts, 0.2), field("factor", parts, 0.5, 1), field("shift", parts, 0.5), 0.01f};
    }
    dy = field("dy", y_shape, 1);
    weight = field("weight", {c.out, c.in, 3, 3, 3}, 0.3);
    before_x = field("before_x", x_shape, 1);
    before_w = field("before_w", weight.shape, 1);
  }

  Tensor input_gradient(bool add) const {
    Tensor dx = before_x.clone();
    cpu::conv3d_input_gradient(dx, add, dy, weight, sizes.first_in, sizes.stride);
    return dx;
  }
  Tensor weight_gradient(bool add = true) const {
    Tensor dw = before_w.clone();
    cpu::conv3d_weight_gradient(dw, sizes.first_in, x, dy, sizes.stride, add);
    return dw;
  }
  cpu::GradientShape shape() const {
    return {x_shape[0], grid_of(x_shape, 1), grid_of(y_shape, 1), sizes.stride, sizes.first_in, channels, sizes.in,
            sizes.out};
  }

  /// body(voxel of x, voxel of dy, tap) for all pairs that a tap joins.
  template <class Body>
  void for_each_pair(Body body) const {
    const int64_t stride = sizes.stride;
    for (int64_t v = 0; v < y_shape.numel() / sizes.out; ++v) {
      const int64_t d = v % y_shape[3], w = v / y_shape[3] % y_shape[2], h = v / y_shape[3] / y_shape[2] % y_shape[1];
      for (int64_t t = 0; t < 27; ++t) {
        const int64_t at[] = {h * stride + t / 9 - 1, w * stride + t / 3 % 3 - 1, d * stride + t % 3 - 1};
        bool inside = true;
        for (int axis = 0; axis < 3; ++axis) inside = inside && at[axis] >= 0 && at[axis] < x_shape[axis + 1];
        const int64_t sample = v / (y_shape[3] * y_shape[2] * y_shape[1]);
        if (inside) body(((sample * x_shape[1] + at[0]) * x_shape[2] + at[1]) * x_shape[3] + at[2], v, t);
      }
    }
  }

  Doubles defined_input_gradient() const {
    Doubles dx(x_shape);
    const float *from = dy.data<float>(), *taps = weight.data<float>();
    for_each_pair([&](int64_t to, int64_t v, int64_t t) {
      for (int64_t o = 0; o < sizes.out; ++o) {
        for (int64_t i = 0; i < channels; ++i) {
          dx[to * channels + i] +=
              double(from[v * sizes.out + o]) * double(taps[(o * sizes.in + sizes.first_in + i) * 27 + t]);
        }
      }
    });
    return dx;
  }

  Doubles defined_weight_gradient() const {
    const Doubles values = x.center.empty() ? Doubles(x.values)
                                            : taken(Doubles(x.values), Doubles(x.center), Doubles(x.factor),
                                                    Doubles(x.shift), double(0.01f));
    Doubles dw(weight.shape);
    for_each_pair([&](int64_t from, int64_t v, int64_t t) {
      for (int64_t o = 0; o < sizes.out; ++o) {
        const auto factor = double(dy.data<float>()[v * sizes.out + o]);
        for (int64_t i = 0; i < channels; ++i) {
          dw[(o * sizes.in + sizes.first_in + i) * 27 + t] += factor * values[from * channels + i];
        }
      }
    });
    return dw;
  }
};

Doubles sum_of(Doubles a, const Tensor& b) {
  for (int64_t i = 0; i < a.numel(); ++i) a[i] += double(b.data<float>()[i]);
  return a;
}

double deviation(const Doubles& x) {
  double square = 0;
  for (const double value : x.values) square += value * value;
  return std::sqrt(square / double(x.numel()));
}

/// Root mean square of the difference, of the deviation of `gradient`.
double error_of(const Tensor& got, const Doubles& want, const Doubles& gradient) {
  double square = 0;
  for (int64_t i = 0; i < got.numel(); ++i) square += std::pow(double(got.data<float>()[i]) - want[i], 2);
  return std::sqrt(square / double(got.numel())) / deviation(gradient);
}

}  // namespace

TEST_CASE("the gradient of a convolution's input is its definition's, written and added") {
  for (const Case& c : kCases) {
    CAPTURE(words_of(c));
    const Inputs inputs(c);
    const Doubles gradient = inputs.defined_input_gradient();
    for (CpuLevel level : levels()) {
      CAPTURE(name_of(level));
      for (const bool add : {false, true}) {
        const Tensor got = computed(level, 2, [&] { return inputs.input_gradient(add); });
        const Doubles want = add ? sum_of(gradient, inputs.before_x) : gradient;
        CHECK(error_of(got, want, gradient) < 6e-6);
      }
    }
  }
}

TEST_CASE("the gradient of a convolution's weight is its definition's, written and added, and no other input's") {
  for (const Case& c : kCases) {
    CAPTURE(words_of(c));
    const Inputs inputs(c);
    const Doubles gradient = inputs.defined_weight_gradient();
    for (CpuLevel level : levels()) {
      CAPTURE(name_of(level));
      for (const bool add : {false, true}) {
        const Tensor got = computed(level, 2, [&] { return inputs.weight_gradient(add); });
        Doubles want(inputs.before_w);
        for (int64_t i = 0; i < want.numel(); ++i) {
          const int64_t channel = i / 27 % c.in - c.first_in;
          const bool looked_at = channel >= 0 && channel < inputs.channels;
          if (looked_at) want[i] = gradient[i] + (add ? want[i] : 0);
        }
        CHECK(error_of(got, want, gradient) < 3e-6);
      }
    }
  }
}

TEST_CASE("every method gives a convolution's gradients") {
  using Kind = cpu::AxisKind;
  for (const int64_t stride : {1, 2}) {
    const Inputs inputs(Case{2, {7, 13, 14}, 17, 33, stride});
    const Doubles weight = inputs.defined_weight_gradient(), input = inputs.defined_input_gradient();
    const cpu::GradientShape shape = inputs.shape();
    const auto kinds = stride == 2 ? std::vector<cpu::WinogradKind>{{Kind::stride2, Kind::stride2, Kind::stride2}}
                                   : std::vector<cpu::WinogradKind>{{Kind::f2, Kind::f2, Kind::f2},
                                                                    {Kind::f2, Kind::f4, Kind::f4},
                                                                    {Kind::f4, Kind::f4, Kind::f4},
                                                                    {Kind::f6, Kind::f4, Kind::f4}};
    for (CpuLevel level : levels()) {
      if (level == CpuLevel::plain) continue;
      CAPTURE(name_of(level));
      const auto off = [&](const Doubles& want, const auto& run) {
        return error_of(computed(level, 2,
                                 [&] {
                                   Tensor to = zeros(want.shape);
                                   run(to);
                                   return to;
                                 }),
                        want, want);
      };
      const auto weight_job = [&](Tensor& dw) {
        return cpu::WeightGradient{dw.data<float>(), true, inputs.x, inputs.dy.data<float>(), shape};
      };
      const auto input_job = [&](Tensor& dx) {
        return cpu::InputGradient{dx.data<float>(), false, inputs.dy.data<float>(), inputs.weight.data<float>(), shape};
      };
      const auto outer = level == CpuLevel::avx2 ? cpu::outer_product_avx2 : cpu::outer_product_avx512;
      CHECK(off(weight, [&](Tensor& dw) { cpu::direct_weight_gradient(weight_job(dw), outer); }) < 1e-6);
      CHECK(off(input, [&](Tensor& dx) { cpu::direct_input_gradient(input_job(dx), *cpu::current_simd()); }) < 1e-6);
      for (cpu::WinogradKind kind : kinds) {
        CAPTURE(int(kind[0]));
        CHECK(off(weight, [&](Tensor& dw) { cpu::winograd_weight_gradient(weight_job(dw), kind); }) < 3e-6);
        if (stride == 2) kind.fill(Kind::stride2_back);
        CHECK(off(input, [&](Tensor& dx) { cpu::winograd_input_gradient(input_job(dx), kind); }) < 6e-6);
        CHECK(off(input, [&](Tensor& dx) { cpu::whole_input_gradient(input_job(dx), kind); }) < 6e-6);
      }
    }
  }
}

TEST_CASE("the input's gradient goes by matrix units in fast precision, where voxels are many") {
  const Inputs inputs(Case{1, {16, 16, 16}, 16, 16, 1});
  const Doubles gradient = inputs.defined_input_gradient();
  const auto run = [&](Precision precision, bool add, int threads) {
    ContextOptions options = options_of(best_cpu_level(), threads);
    options.precision = precision;
    Context context(options);
    UseContext use(context);
    Tensor dx = inputs.before_x.clone();
    cpu::conv3d_input_gradient(dx, add, inputs.dy, inputs.weight, 0, 1, &cpu::kEmulatedTiles);
    return dx;
  };
  for (const bool add : {false, true}) {
    const Doubles want = add ? sum_of(gradient, inputs.before_x) : gradient;
    const Tensor got = run(Precision::fast, add, 1);
    CHECK(error_of(got, want, gradient) < 6e-3);
    CHECK(error_of(got, want, gradient) > 1e-4);
    if (add) CHECK(same_bits(run(Precision::fast, add, 3), got));
    if (best_cpu_level() != CpuLevel::plain) CHECK(error_of(run(Precision::exact, add, 1), want, gradient) < 6e-6);
  }
}

TEST_CASE("the weight's gradient takes features in f16, with a norm or final") {
  for (const Case& c : {Case{1, {5, 9, 10}, 64, 48, 1}, {2, {5, 6, 7}, 3, 64, 1}, {1, {10, 7, 6}, 40, 32, 2}}) {
    for (const DType held : {DType::f32, DType::f16}) {
      for (const bool norm : {false, true}) {
        CAPTURE(words_of(c));
        const Inputs inputs(c, held, norm);
        const Doubles gradient = inputs.defined_weight_gradient();
        for (CpuLevel level : levels()) {
          const Tensor got = computed(level, 2, [&] { return inputs.weight_gradient(); });
          CHECK(error_of(got, sum_of(gradient, inputs.before_w), gradient) < 3e-6);
        }
      }
    }
  }
}

TEST_CASE("a convolution's gradients have the same bits for any number of threads") {
  for (const Case& c : {Case{2, {9, 9, 26}, 32, 32, 1},
                        {1, {6, 6, 6}, 80, 70, 1},
                        {1, {20, 9, 12}, 1, 64, 1},
                        {1, {19, 12, 17}, 32, 32, 2},
                        {1, {4, 4, 4}, 80, 70, 2}}) {
    CAPTURE(words_of(c));
    const Inputs inputs(c);
    CHECK(difference_by_threads([&] { return inputs.input_gradient(true); }) == "");
    CHECK(difference_by_threads([&] { return inputs.weight_gradient(); }) == "");
  }
}

TEST_CASE("a dry run of a convolution's gradients counts the memory that a real one takes") {
  for (const Case& c : {Case{1, {20, 26, 50}, 24, 17, 1},
                        {1, {6, 6, 6}, 80, 70, 1},
                        {2, {9, 20, 12}, 1, 64, 1},
                        {1, {19, 12, 17}, 32, 32, 2}}) {
    CAPTURE(words_of(c));
    const auto peak = [&](bool dry, bool input) {
      ContextOptions options = options_of(best_cpu_level(), 2);
      options.dry = dry;
      Context context(options);
      UseContext use(context);
      Tensor dx({c.batch, c.size[0], c.size[1], c.size[2], c.in}), dw({c.out, c.in, 3, 3, 3}), dy = dx;
      dy.shape[4] = c.out;
      for (int axis = 1; axis < 4; ++axis) dy.shape[axis] = (dx.shape[axis] - 1) / c.stride + 1;
      dy = Tensor(dy.shape);
      if (!dry) std::fill_n(dy.data<float>(), dy.numel(), 1.f);
      if (!dry) std::fill_n(dx.data<float>(), dx.numel(), 1.f);
      if (!dry) std::fill_n(dw.data<float>(), dw.numel(), 1.f);
      if (input) cpu::conv3d_input_gradient(dx, true, dy, dw, 0, c.stride);
      if (!input) cpu::conv3d_weight_gradient(dw, 0, {dx}, dy, c.stride);
      return context.memory()->peak_bytes();
    };
    for (const bool input : {false, true}) CHECK(peak(true, input) == peak(false, input));
  }
}

TEST_CASE("a convolution's gradients refuse what does not fit, with the numbers") {
  Tensor dx({1, 4, 4, 4, 8}), dw({16, 8, 3, 3, 3});
  const Tensor dy({1, 2, 2, 2, 16}), weight({16, 8, 3, 3, 3});
  CHECK_THROWS_WITH(cpu::conv3d_input_gradient(dx, false, dy, weight, 0, 1),
                    "conv3d_input_gradient: inputs have shape [1, 4, 4, 4, 8], the outputs' gradient [1, 2, 2, 2, 16], "
                    "which does not fit stride 1");
  CHECK_THROWS_WITH(cpu::conv3d_input_gradient(dx, false, dy, weight, 1, 2),
                    "conv3d_input_gradient: channels 1 to 9 of a weight with 8 inputs");
  CHECK_THROWS_WITH(cpu::conv3d_weight_gradient(dw, 0, {dx}, dy, 3),
                    "conv3d_weight_gradient: stride is 3, needs 1 or 2");
  CHECK_THROWS_WITH(cpu::conv3d_weight_gradient(dw, 0, {dx}, Tensor({1, 2, 2, 2, 15}), 2),
                    "conv3d_weight_gradient: the weight has shape [16, 8, 3, 3, 3], needs [15, in, 3, 3, 3]");
}
