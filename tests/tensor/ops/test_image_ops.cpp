// Ops on images and sequences, beside the table of ops: what a sample and a step do not depend on, what taps add up to,
// and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("an image's result does not depend on the other images of its batch") {
  const Tensor x = field("x", {3, 9, 7, 20}, 1), bias = field("bias", {35}, 1), volume = x.reshape({3, 9, 7, 1, 20});
  const Tensor weight = field("weight", {35, 20, 3, 3}, 0.2), up = field("up", {20, 35, 2, 2}, 0.2);
  const Tensor gain = field("gain", {20}, 1), shift = field("shift", {20}, 1);
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> all = {
      {"conv2d", [&](const Tensor& image) { return conv2d(image, pack_conv2d(weight), bias); }},
      {"conv_transpose2d",
       [&](const Tensor& image) { return conv_transpose2d(image, pack_conv_transpose2d(up), bias); }},
      {"split_patches", [](const Tensor& image) { return split_patches(image, 3); }},
      {"join_patches", [](const Tensor& image) { return join_patches(image, 2); }},
      {"resample2d", [](const Tensor& image) { return resample2d(image, cubic_taps(9, 13), linear_taps(7, 4)); }},
      {"max_pool2d", [](const Tensor& image) { return max_pool2d(image, 2); }},
      {"gelu", [](const Tensor& image) { return gelu(image); }},
      {"instance_norm",
       [&](const Tensor& image) {
         const Tensor grid = image.reshape({image.shape[0], 9, 7, 1, 20});
         return materialize(instance_norm(grid, {gain, shift, 1e-5f, 0.1f}));
       }},
  };
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    for (const auto& [name, run] : all) {
      CAPTURE(name);
      const Tensor together = computed(level, 2, [&, &body = run] { return body(x); });
      for (int64_t b = 0; b < 3; ++b) {
        const Tensor alone = computed(level, 1, [&, &body = run] { return body(x.slice(b, b + 1)); });
        CHECK(same_bits(alone, together.slice(b, b + 1)));
      }
    }
  }
}

TEST_CASE("a step of a sequence depends on the steps before it and on its own sequence alone") {
  const Shape sequence{2, 90, 20}, states{2, 90, 5};
  const Tensor x = field("x", sequence, 1), delta = field("delta", sequence, 1), gate = field("gate", sequence, 1);
  const Tensor b = field("b", states, 1), c = field("c", states, 1);
  const Tensor log_a = field("log_a", {20, 5}, 1), d = field("d", {20}, 1);
  const Tensor weight = field("weight", {20, 4}, 1), bias = field("bias", {20}, 1);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const auto steps = [](const Tensor& of, int64_t sample, int64_t last) {
      return of.slice(sample, sample + 1).select(0).slice(0, last).reshape({1, last, of.shape[2]});
    };
    const auto scan = [&](int64_t sample, int64_t last) {
      return computed(level, 1, [&] {
        return selective_scan(steps(x, sample, last), steps(delta, sample, last), log_a, steps(b, sample, last),
                              steps(c, sample, last), d, steps(gate, sample, last));
      });
    };
    const Tensor scanned = computed(level, 2, [&] { return selective_scan(x, delta, log_a, b, c, d, gate); });
    const Tensor mixed = computed(level, 2, [&] { return causal_conv1d_silu(x, weight, bias); });
    for (int64_t sample = 0; sample < 2; ++sample) {
      for (const int64_t last : {1, 2, 64, 65, 90}) {
        CHECK(same_bits(scan(sample, last), steps(scanned, sample, last)));
        const Tensor alone =
            computed(level, 1, [&] { return causal_conv1d_silu(steps(x, sample, last), weight, bias); });
        CHECK(same_bits(alone, steps(mixed, sample, last)));
      }
    }
  }
}

TEST_CASE("the scan stays finite where steps are long and where states die at once") {
  const Tensor x = full({1, 3, 1}, 2), far = full({1, 3, 1}, 100), one = full({1, 3, 1}, 1), d = zeros({1});
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const Tensor y = computed(level, 1, [&] {
      return selective_scan(x, far, full({1, 1}, 5), one, one, d, full({1, 3, 1}, 30));  // exp(-148 * 100) is 0
    });
    for (int64_t l = 0; l < 3; ++l) CHECK(y.data<float>()[l] == doctest::Approx(100 * 2 * 30));
    const Tensor none = computed(level, 1, [&] {
      return selective_scan(x, full({1, 3, 1}, -200), full({1, 1}, 5), one, one, d, full({1, 3, 1}, -200));
    });
    for (int64_t l = 0; l < 3; ++l) CHECK(none.data<float>()[l] == 0);
  }
}

TEST_CASE("the weights of an output's taps add up to one, and a grid sampled to itself stays as it is") {
  const Tensor x = field("x", {17, 3}, 1);
  for (const int64_t out : {1, 5, 17, 40}) {
    for (const AxisTaps& taps : {linear_taps(17, out), linear_taps(17, out, true), nearest_taps(17, out),
                                 cubic_taps(17, out), mean_taps(17, out)}) {
      REQUIRE(taps.out() == out);
      for (int64_t i = 0; i < out; ++i) {
        double sum = 0;
        for (int64_t t = 0; t < taps.taps; ++t) sum += double(taps.weight[size_t(i * taps.taps + t)]);
        CHECK(sum == doctest::Approx(1).epsilon(1e-6));
      }
      if (out == 17) CHECK(same_bits(resample(x, 0, taps), x));
    }
  }
}

TEST_CASE("joined patches are the image that was split") {
  const Tensor x = field("x", {2, 12, 20, 5}, 1);
  CHECK(same_bits(join_patches(split_patches(x, 4), 4), x));
}

TEST_CASE("ops on images and sequences refuse what does not fit, with the numbers") {
  const Tensor image = zeros({1, 6, 5, 3});
  CHECK_THROWS_WITH_AS(pack_conv2d(zeros({4, 3, 3})),
                       "pack_conv2d: weight has shape [4, 3, 3], needs [out, in, kh, kw]", Error);
  CHECK_THROWS_WITH_AS(conv2d(zeros({6, 5, 3}), pack_conv2d(zeros({4, 3, 3, 3})), {}),
                       "conv2d: x has shape [6, 5, 3], needs [B, H, W, C]", Error);
  CHECK_THROWS_WITH_AS(conv2d(image, pack_conv2d(zeros({4, 2, 3, 3})), {}),
                       "conv3d: 3 input channels, the weight has 2", Error);
  CHECK_THROWS_WITH_AS(conv2d(image, pack_conv2d(zeros({4, 3, 9, 9})), {}),
                       doctest::Contains("is smaller than the kernel 9"), Error);
  CHECK_THROWS_WITH_AS(conv3d(zeros({1, 4, 4, 4, 3}), pack_conv3d(zeros({2, 3, 1, 1, 1})), {}, {{1, 0, 1}, {0, 0, 0}}),
                       "conv3d: stride 0, padding 0", Error);
  CHECK_THROWS_WITH_AS(pack_conv_transpose2d(zeros({3, 4, 2, 3})), doctest::Contains("needs [in, out, k, k]"), Error);
  CHECK_THROWS_WITH_AS(conv_transpose2d(image, pack_conv_transpose2d(zeros({3, 4, 2, 2})), {}, 3),
                       "conv_transpose2d: a weight of 16 outputs for 3 x 3 pixels", Error);
  CHECK_THROWS_WITH_AS(split_patches(image, 6), "split_patches: patches of 6 x 6 pixels of [1, 6, 5, 3]", Error);
  CHECK_THROWS_AS(split_patches(image, 0), Error);
  CHECK_THROWS_WITH_AS(join_patches(image, 2), "join_patches: 3 values are no patch of 2 x 2 pixels", Error);
  CHECK_THROWS_WITH_AS(pack_patch_embedding(zeros({4, 3, 2, 1})), doctest::Contains("needs [out, in, p, p]"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(image, 7), "max_pool2d: windows of 7 x 7 pixels of [1, 6, 5, 3]", Error);

  CHECK_THROWS_WITH_AS(linear_taps(0, 3), "linear_taps: from 0 to 3 samples", Error);
  CHECK_THROWS_WITH_AS(mean_taps(3, 0), "mean_taps: from 3 to 0 samples", Error);
  CHECK_THROWS_WITH_AS(resample(image, 1, linear_taps(5, 3)), "resample: taps of 5 samples for axis 1 of [1, 6, 5, 3]",
                       Error);
  CHECK_THROWS_AS(resample(image, 4, linear_taps(3, 3)), Error);
  AxisTaps outside = nearest_taps(6, 2);
  outside.index[1] = 6;
  CHECK_THROWS_WITH_AS(resample(image, 1, outside), "resample: index 6 of 6 samples", Error);
  AxisTaps uneven = nearest_taps(6, 3);
  uneven.taps = 2;
  CHECK_THROWS_WITH_AS(resample(image, 1, uneven), "resample: 3 indices, 3 weights of 2 a sample", Error);

  const PackedMatrix weight = pack_linear(zeros({4, 3}));
  CHECK_THROWS_WITH_AS(linear_add(zeros({2, 3}), zeros({2, 3}), weight, {}),
                       "linear_add: x and residual have shapes [2, 3] and [2, 3], need [..., 3] and [..., 4]", Error);
  CHECK_THROWS_WITH_AS(linear_add(zeros({2, 4}), zeros({2, 3}), weight, {}, zeros({3})),
                       doctest::Contains("bias and scale have shapes [0] and [3], need [4]"), Error);
  CHECK_THROWS_WITH_AS(attention_map(zeros({2, 6}), zeros({5, 6}), 4),
                       "attention_map: 6 channels do not divide into 4 heads", Error);
  CHECK_THROWS_WITH_AS(attention_map(zeros({2, 6}), zeros({5, 4}), 2), doctest::Contains("[2, 6] and [5, 4]"), Error);
  Segments windows = equal_segments(2, 3, 3);
  windows.regions = {0, 0, 1, 1, 1};
  CHECK_THROWS_WITH_AS(attention(zeros({6, 4}), zeros({6, 4}), zeros({6, 4}), 2, windows),
                       "attention: 5 regions for 6 queries and 6 keys", Error);

  const Tensor x = zeros({1, 5, 4}), states = zeros({1, 5, 2}), log_a = zeros({4, 2}), d = zeros({4});
  CHECK_THROWS_WITH_AS(
      causal_conv1d_silu(x, zeros({3, 4}), d),
      "causal_conv1d_silu: x, weight, bias have shapes [1, 5, 4], [3, 4], [4], need [B, L, C], [C, K], "
      "[C]",
      Error);
  CHECK_THROWS_WITH_AS(selective_scan(x, zeros({1, 4, 4}), log_a, states, states, d, x),
                       doctest::Contains("[1, 5, 4], [1, 4, 4], [1, 5, 4], need one [B, L, C]"), Error);
  CHECK_THROWS_WITH_AS(selective_scan(x, x, log_a, zeros({1, 5, 3}), states, d, x),
                       doctest::Contains("have shapes [4, 2], [1, 5, 3], [1, 5, 2], [4], need [4, N]"), Error);

  const Tensor gain = full({3}, 1);
  CHECK_THROWS_WITH_AS(instance_norm(zeros({1, 2, 2, 2, 4}), {gain, gain}),
                       "instance_norm: gain [3] and bias [3] need [4]", Error);
  CHECK_THROWS_WITH_AS(sum_features({zeros({1, 2, 2, 2, 4})}, {zeros({1, 2, 2, 2, 3})}, 1),
                       "sum_features: shapes [1, 2, 2, 2, 4] and [1, 2, 2, 2, 3]", Error);
}
