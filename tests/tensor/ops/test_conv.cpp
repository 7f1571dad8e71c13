// Plain and transposed convolutions, beside the table of ops: what a voxel does not depend on, precision over many
// channels, and what is refused.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("a voxel's result depends neither on the other samples nor on the size of the grid") {
  const Tensor both = field("x", {2, 7, 6, 9, 20}, 1), bias = field("bias", {70}, 1);
  const Tensor weight = field("weight", {70, 20, 3, 3, 3}, 2 / std::sqrt(20 * 27.));
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const auto run = [&](const Tensor& x) {
      return computed(level, 1, [&] { return conv3d(x, pack_conv3d(weight), bias, {1, 0}); });
    };
    const Tensor y = run(both);
    CHECK(same_bits(run(both.slice(1, 2)).select(0), y.select(1)));
    const Tensor rows = both.select(1).slice(2, 6).reshape({1, 4, 6, 9, 20});  // rows 2 to 3 of the result
    CHECK(same_bits(run(rows).select(0), y.select(1).slice(2, 4)));
  }
}

TEST_CASE("a sum over many channels keeps single precision") {
  const Tensor x = field("x", {1, 3, 3, 2, 1500}, 1), bias = field("bias", {16}, 1);
  const Tensor weight = field("weight", {16, 1500, 3, 3, 3}, 2 / std::sqrt(1500 * 27.));
  Doubles want = convolved(Doubles(x), Doubles(weight), {1, 1});
  for (int64_t i = 0; i < want.numel(); ++i) want[i] += double(bias.data<float>()[i % 16]);
  for (CpuLevel level : levels()) {
    if (level == CpuLevel::plain) continue;  // one long sum: up to 1e-5 off
    const Tensor y = computed(level, 1, [&] { return conv3d(x, pack_conv3d(weight), bias); });
    CHECK(largest_difference(y, want.rounded()) < 2e-6);
  }
}

TEST_CASE("final features reuse the bytes of a tensor that is moved in, and leave a shared one alone") {
  const Tensor center = field("center", {1, 5}, 1), factor = field("factor", {1, 5}, 1),
               shift = field("shift", {1, 5}, 1);
  for (CpuLevel level : levels()) {
    Context context(options_of(level, 1));
    UseContext use(context);
    const Tensor before = field("x", {1, 4, 4, 4, 5}, 1);
    const Features kept{before.clone(), center, factor, shift, 0.01f};
    const Tensor y = materialize(kept);
    CHECK(same_bits(kept.values, before));
    Features moved{before.clone(), center, factor, shift, 0.01f};
    const void* bytes = moved.values.raw();
    const Tensor again = materialize(std::move(moved));
    CHECK(again.raw() == bytes);
    CHECK(same_bits(again, y));
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
  CHECK_THROWS_WITH_AS(pack_conv3d(zeros({2, 3, 3, 3})), doctest::Contains("needs [out, in, kh, kw, kd]"), Error);
  CHECK_THROWS_AS(pack_conv_transpose3d(zeros({2, 3, 2, 2, 3})), Error);
  CHECK_THROWS_AS(pack_conv_transpose3d(zeros({2, 0, 2, 2, 2})), Error);
  CHECK_THROWS_WITH_AS(conv_transpose3d(x, pack_conv_transpose3d(zeros({2, 3, 2, 2, 2})), {}),
                       doctest::Contains("needs [B, H, W, D, 2]"), Error);

  const Tensor kernel = zeros({16, 16, 3, 3, 3});
  const NormWeights norm{full({16}, 1), zeros({16})};
  const Features volume{zeros({1, 4, 4, 4, 16})};
  CHECK_THROWS_WITH_AS(pack_conv_block(zeros({16, 16, 2, 2, 2}), {}), doctest::Contains("3x3x3 kernel"), Error);
  ConvSite three;
  three.stride = 3;
  CHECK_THROWS_WITH_AS(pack_conv_block(kernel, three), doctest::Contains("stride 3, needs 1 or 2"), Error);
  const ConvBlockWeight block = pack_conv_block(kernel, {});
  CHECK_THROWS_WITH_AS(conv3d_norm({x}, block, norm), doctest::Contains("the weight has 16 inputs"), Error);
  CHECK_THROWS_WITH_AS(conv3d_norm(volume, block, {full({3}, 1), zeros({16})}), doctest::Contains("gain [3]"), Error);
  CHECK_THROWS_WITH_AS(conv3d_norm({x.reshape({1, 4, 4, 12, 1}).select(0)}, block, norm),
                       doctest::Contains("need [B, H, W, D, C]"), Error);
  const UpBlockWeight up = pack_up_block(kernel, zeros({5, 6, 2, 2, 2}), {}, {});
  CHECK_THROWS_WITH_AS(conv3d_norm({volume}, up.conv, norm), doctest::Contains("6 of them up-sampled"), Error);
  CHECK_THROWS_WITH_AS(conv3d_norm_up({zeros({1, 2, 2, 3, 5})}, {zeros({1, 4, 4, 4, 10})}, up, norm),
                       doctest::Contains("need half of each axis"), Error);
  CHECK_THROWS_WITH_AS(conv3d_norm_up({zeros({1, 2, 2, 2, 5})}, {zeros({1, 4, 4, 4, 9})}, up, norm),
                       doctest::Contains("the weight is for 6 and 10 channels"), Error);
  CHECK_THROWS_WITH_AS(pack_up_block(kernel, zeros({5, 16, 2, 2, 2}), {}, {}),
                       doctest::Contains("16 of 16 inputs are up-sampled"), Error);
}
