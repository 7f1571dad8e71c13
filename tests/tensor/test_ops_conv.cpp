// Convolutions: the claims of ops.h, on every CPU level of this machine.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

/// One convolution, spelled so that a failure names it.
struct Case {
  std::array<int64_t, 3> size;
  int64_t batch, in, skip, out, kernel, stride, padding;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.batch << " x [" << c.size[0] << ", " << c.size[1] << ", " << c.size[2] << "], " << c.in << " + "
             << c.skip << " -> " << c.out << ", kernel " << c.kernel << ", stride " << c.stride << ", padding "
             << c.padding;
}

struct Inputs {
  Tensor x, skip, weight, bias;
};

Inputs inputs_of(const Case& c) {
  const Shape grid{c.batch, c.size[0], c.size[1], c.size[2], c.in};
  const double scale = 1 / std::sqrt(double((c.in + c.skip) * c.kernel * c.kernel * c.kernel));
  return {field("x", grid, 1), c.skip ? field("skip", grid.with(4, c.skip), 1) : Tensor(),
          field("weight", {c.out, c.in + c.skip, c.kernel, c.kernel, c.kernel}, 2 * scale), field("bias", {c.out}, 1)};
}

Tensor run(const Case& c, const Inputs& i) {
  const PackedConv3d weight = pack_conv3d(i.weight);
  if (c.skip) return conv3d_joined(i.x, i.skip, weight, i.bias, {c.stride, c.padding});
  return conv3d(i.x, weight, i.bias, {c.stride, c.padding});
}

/// The definition, in double.
Tensor defined(const Case& c, const Inputs& i) {
  const auto out_size = [&](int axis) { return (c.size[size_t(axis)] + 2 * c.padding - c.kernel) / c.stride + 1; };
  const Tensor y({c.batch, out_size(0), out_size(1), out_size(2), c.out});
  const int64_t k = c.kernel;
  for (int64_t at = 0; at < y.numel(); ++at) {
    const int64_t o = at % c.out, od = at / c.out % y.shape[3], ow = at / c.out / y.shape[3] % y.shape[2];
    const int64_t bh = at / c.out / y.shape[3] / y.shape[2], oh = bh % y.shape[1], b = bh / y.shape[1];
    double sum = double(i.bias.data<float>()[o]);
    for (int64_t tap = 0; tap < k * k * k; ++tap) {
      const int64_t h = oh * c.stride + tap / k / k - c.padding, w = ow * c.stride + tap / k % k - c.padding;
      const int64_t d = od * c.stride + tap % k - c.padding;
      if (h < 0 || w < 0 || d < 0 || h >= c.size[0] || w >= c.size[1] || d >= c.size[2]) continue;
      const int64_t voxel = ((b * c.size[0] + h) * c.size[1] + w) * c.size[2] + d;
      for (int64_t n = 0; n < c.in + c.skip; ++n) {
        const float value =
            n < c.in ? i.x.data<float>()[voxel * c.in + n] : i.skip.data<float>()[voxel * c.skip + n - c.in];
        sum += double(value) * double(i.weight.data<float>()[(o * (c.in + c.skip) + n) * k * k * k + tap]);
      }
    }
    y.data<float>()[at] = float(sum);
  }
  return y;
}

}  // namespace

TEST_CASE("a convolution follows its definition for every kernel, stride, padding and joined input") {
  for (int64_t kernel : {1, 2, 3}) {
    for (int64_t stride : {1, 2}) {
      for (int64_t padding : {0, 1}) {
        for (int64_t skip : {0, 3}) {
          const Case c{{3, 4, 5}, 2, 5, skip, 7, kernel, stride, padding};
          CAPTURE(c);
          const Inputs inputs = inputs_of(c);
          const Tensor want = defined(c, inputs);
          for (CpuLevel level : levels()) {
            CHECK(mismatch(computed(level, 2, [&] { return run(c, inputs); }), want, {2e-6, 2e-6}) == "");
          }
        }
      }
    }
  }
}

TEST_CASE("the vector forms agree with the plain one at awkward sizes and channel counts") {
  const std::vector<Case> cases = {
      {{1, 1, 1}, 1, 1, 0, 1, 3, 1, 1},    {{1, 2, 15}, 1, 3, 0, 64, 3, 1, 1},  {{17, 2, 1}, 2, 8, 0, 24, 3, 1, 1},
      {{2, 31, 2}, 1, 24, 0, 48, 3, 1, 1}, {{15, 1, 17}, 1, 3, 0, 96, 3, 2, 1}, {{2, 3, 33}, 1, 48, 24, 64, 3, 1, 1},
      {{5, 6, 7}, 2, 64, 64, 64, 3, 1, 1}, {{7, 5, 3}, 1, 64, 1, 80, 3, 2, 1},  {{3, 3, 3}, 1, 96, 0, 130, 3, 1, 1},
      {{9, 5, 4}, 1, 200, 0, 17, 3, 1, 0}, {{5, 5, 5}, 2, 33, 0, 65, 1, 1, 0},  {{8, 8, 8}, 1, 300, 0, 16, 1, 2, 0},
      {{5, 5, 9}, 1, 2, 0, 3, 5, 1, 2}};
  for (const Case& c : cases) {
    CAPTURE(c);
    const Inputs inputs = inputs_of(c);
    const auto compute = [&] { return run(c, inputs); };
    const Tensor want = computed(CpuLevel::plain, 1, compute);
    for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 1, compute), want, {4e-6, 4e-6}) == "");
  }
}

TEST_CASE("a convolution has the same bits for any number of threads") {
  for (const Case& c : {Case{{3, 3, 3}, 1, 40, 0, 200, 3, 1, 1}, Case{{11, 9, 13}, 1, 6, 5, 20, 3, 1, 1}}) {
    CAPTURE(c);
    const Inputs inputs = inputs_of(c);
    CHECK(difference_by_threads([&] { return run(c, inputs); }) == "");
  }
}

TEST_CASE("a voxel's result depends neither on the other samples nor on the size of the grid") {
  const Case c{{7, 6, 9}, 2, 20, 0, 70, 3, 1, 0};
  const Inputs both = inputs_of(c);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const Tensor y = computed(level, 1, [&] { return run(c, both); });
    Inputs one = both;
    one.x = both.x.slice(1, 2);
    CHECK(same_bits(computed(level, 1, [&] { return run(c, one); }).select(0), y.select(1)));
    one.x = both.x.select(1).slice(2, 6).reshape({1, 4, 6, 9, 20});  // without padding: rows 2 to 3 of the result
    CHECK(same_bits(computed(level, 1, [&] { return run(c, one); }).select(0), y.select(1).slice(2, 4)));
  }
}

TEST_CASE("a sum over many channels keeps single precision") {
  const Case c{{3, 3, 2}, 1, 700, 800, 16, 3, 1, 1};
  const Inputs inputs = inputs_of(c);
  const Tensor want = defined(c, inputs);
  for (CpuLevel level : levels()) {
    if (level == CpuLevel::plain) continue;  // one long sum: up to 1e-5 off
    CHECK(largest_difference(computed(level, 1, [&] { return run(c, inputs); }), want) < 2e-6);
  }
}

TEST_CASE("a transposed convolution puts each voxel's eight corners where they belong") {
  for (const auto& sizes : {std::pair<int64_t, int64_t>{1, 1}, {5, 3}, {64, 24}, {33, 64}, {300, 10}}) {
    const int64_t in = sizes.first, out = sizes.second;
    const Tensor x = field("x", {2, 2, 3, 5, in}, 1), weight = field("weight", {in, out, 2, 2, 2}, 1 / double(in));
    const Tensor bias = field("bias", {out}, 1), want({2, 4, 6, 10, out});
    for (int64_t at = 0; at < want.numel(); ++at) {
      const int64_t o = at % out, d = at / out % 10, w = at / out / 10 % 6, bh = at / out / 60;
      const int64_t voxel = (bh / 2 * 3 + w / 2) * 5 + d / 2;  // 2h rows a sample: samples and rows double alike
      double sum = double(bias.data<float>()[o]);
      for (int64_t i = 0; i < in; ++i) {
        sum += double(x.data<float>()[voxel * in + i]) *
               double(weight.data<float>()[(i * out + o) * 8 + bh % 2 * 4 + w % 2 * 2 + d % 2]);
      }
      want.data<float>()[at] = float(sum);
    }
    CAPTURE(in);
    CAPTURE(out);
    const auto compute = [&] { return conv_transpose3d(x, pack_conv_transpose3d(weight), bias); };
    for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 2, compute), want, {2e-6, 2e-6}) == "");
    CHECK(difference_by_threads(compute) == "");
    const auto without = [&] { return conv_transpose3d(x, pack_conv_transpose3d(weight), {}); };
    for (CpuLevel level : levels()) {
      CHECK(mismatch(computed(level, 1, without), computed(CpuLevel::plain, 1, without), {2e-6, 2e-6}) == "");
    }
  }
}

TEST_CASE("convolutions refuse what does not fit, with the numbers") {
  const Tensor x = zeros({1, 4, 4, 4, 3});
  const PackedConv3d weight = pack_conv3d(zeros({2, 3, 3, 3, 3}));
  CHECK_THROWS_WITH_AS(conv3d(zeros({4, 4, 4, 3}), weight, {}), doctest::Contains("[4, 4, 4, 3]"), Error);
  CHECK_THROWS_WITH_AS(conv3d(zeros({1, 4, 4, 4, 2}), weight, {}), "conv3d: 2 input channels, the weight has 3", Error);
  CHECK_THROWS_WITH_AS(conv3d(x, weight, zeros({3})), "conv3d: bias has shape [3], needs [2]", Error);
  CHECK_THROWS_WITH_AS(conv3d(x, weight, {}, {0, 1}), "conv3d: stride 0, padding 1", Error);
  CHECK_THROWS_WITH_AS(conv3d(zeros({1, 4, 2, 4, 3}), weight, {}, {1, 0}), doctest::Contains("smaller than the kernel"),
                       Error);
  CHECK_THROWS_WITH_AS(conv3d_joined(zeros({1, 4, 4, 4, 1}), zeros({1, 4, 4, 5, 2}), weight, {}),
                       doctest::Contains("do not lie on one grid"), Error);
  CHECK_THROWS_WITH_AS(pack_conv3d(zeros({2, 3, 3, 3, 1})), doctest::Contains("needs [out, in, k, k, k]"), Error);
  CHECK_THROWS_AS(pack_conv_transpose3d(zeros({2, 3, 2, 2, 3})), Error);
  CHECK_THROWS_WITH_AS(conv_transpose3d(x, pack_conv_transpose3d(zeros({2, 3, 2, 2, 2})), {}),
                       doctest::Contains("needs [B, H, W, D, 2]"), Error);
}
