// Normalisations: the claims of ops.h, on every CPU level of this machine.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor instance_norm_defined(const Tensor& x, const Tensor& gain, const Tensor& bias, float eps, float slope) {
  const Tensor y = empty_like(x);
  const int64_t C = x.shape[4], voxels = x.shape[1] * x.shape[2] * x.shape[3];
  for (int64_t b = 0; b < x.shape[0]; ++b) {
    for (int64_t c = 0; c < C; ++c) {
      const float* from = x.data<float>() + b * voxels * C + c;
      double mean = 0, variance = 0;
      for (int64_t v = 0; v < voxels; ++v) mean += double(from[v * C]) / double(voxels);
      for (int64_t v = 0; v < voxels; ++v) variance += std::pow(double(from[v * C]) - mean, 2) / double(voxels);
      for (int64_t v = 0; v < voxels; ++v) {
        const double value =
            (double(from[v * C]) - mean) / std::sqrt(variance + double(eps)) * double(gain.data<float>()[c]) +
            double(bias.data<float>()[c]);
        y.data<float>()[(b * voxels + v) * C + c] = float(value < 0 ? double(slope) * value : value);
      }
    }
  }
  return y;
}

}  // namespace

TEST_CASE("an instance norm with leaky relu follows its definition at awkward sizes") {
  const std::vector<Shape> shapes = {{1, 1, 1, 1, 1},   {2, 1, 2, 15, 3},  {1, 17, 1, 31, 8}, {2, 5, 5, 5, 24},
                                     {1, 2, 33, 2, 48}, {1, 9, 9, 3, 100}, {1, 3, 3, 3, 768}};
  for (const Shape& shape : shapes) {
    CAPTURE(shape);
    const int64_t C = shape[4];
    const Tensor x = field("x", shape, 3, 1), gain = field("gain", {C}, 1), bias = field("bias", {C}, 1);
    const Tensor want = instance_norm_defined(x, gain, bias, 1e-5f, 0.01f);
    const auto compute = [&] { return instance_norm_leaky_relu(x, gain, bias, 1e-5f, 0.01f); };
    for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 2, compute), want, {1e-6, 1e-6}) == "");
    CHECK(difference_by_threads(compute) == "");
  }
}

TEST_CASE("statistics hold where the mean dwarfs the deviation, over many slabs, with the far values first") {
  const int64_t voxels = 64 * 64 * 100;
  Tensor x({1, 64, 64, 100, 3});
  const Tensor noise = field("noise", {voxels, 3}, 1);
  for (int64_t v = 0; v < voxels; ++v) {
    for (int64_t c = 0; c < 3; ++c) {
      const double middle = c == 0 ? 1e4 : c == 1 ? (v < 700 ? 0 : 1e4) : -3e5;
      x.data<float>()[v * 3 + c] = float(middle) + noise.data<float>()[v * 3 + c];
    }
  }
  const Tensor gain = full({3}, 1), bias = field("bias", {3}, 1);
  const Tensor want = instance_norm_defined(x, gain, bias, 1e-5f, 0.01f);
  const auto compute = [&] { return instance_norm_leaky_relu(x, gain, bias, 1e-5f, 0.01f); };
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    CHECK(mismatch(computed(level, 2, compute), want, {2e-6, 2e-6}) == "");
  }
  CHECK(difference_by_threads(compute) == "");
}

TEST_CASE("a norm reuses the bytes of a tensor that is moved in, and leaves a shared one alone") {
  const Tensor gain = full({5}, 2), bias = full({5}, 1);
  for (CpuLevel level : levels()) {
    ContextOptions options;
    options.cpu = level;
    Context context(options);
    UseContext use(context);
    Tensor x = field("x", {1, 4, 4, 4, 5}, 1).clone();
    const Tensor kept = x, before = x.clone();
    const Tensor y = instance_norm_leaky_relu(x, gain, bias, 1e-5f, 0.01f);
    CHECK(same_bits(kept, before));
    Tensor moved = before.clone();
    const void* bytes = moved.raw();
    const Tensor again = instance_norm_leaky_relu(std::move(moved), gain, bias, 1e-5f, 0.01f);
    CHECK(again.raw() == bytes);
    CHECK(same_bits(again, y));
  }
}

TEST_CASE("a sample's norm does not depend on the other samples") {
  const Tensor x = field("x", {2, 5, 6, 7, 20}, 1), gain = full({20}, 1), bias = zeros({20});
  for (CpuLevel level : levels()) {
    const auto norm = [&](const Tensor& some) {
      return computed(level, 1, [&] { return instance_norm_leaky_relu(some, gain, bias, 1e-5f, 0.01f); });
    };
    CHECK(same_bits(norm(x.slice(1, 2)).select(0), norm(x).select(1)));
  }
}

TEST_CASE("a layer norm follows its definition, also far from zero") {
  for (int64_t C : {1, 2, 7, 8, 31, 768}) {
    for (double offset : {0.0, 1e4}) {
      CAPTURE(C);
      const Tensor x = field("x", {17, C}, 1, offset), gain = field("gain", {C}, 1), bias = field("bias", {C}, 1);
      const Tensor want = instance_norm_defined(x.reshape({17, 1, 1, C, 1}), full({1}, 1), zeros({1}), 1e-5f, 1);
      for (int64_t i = 0; i < x.numel(); ++i) {
        float& value = want.data<float>()[i];
        value = value * gain.data<float>()[i % C] + bias.data<float>()[i % C];
      }
      const auto compute = [&] { return layer_norm(x, gain, bias, 1e-5f); };
      for (CpuLevel level : levels()) {
        CHECK(mismatch(computed(level, 2, compute), want.reshape({17, C}), {1e-6, 1e-6}) == "");
      }
      CHECK(difference_by_threads(compute) == "");
    }
  }
}

TEST_CASE("norms refuse what does not fit, with the numbers") {
  CHECK_THROWS_WITH_AS(layer_norm(zeros({2, 3}), zeros({2}), zeros({3}), 1e-5f), doctest::Contains("[2, 3], [2], [3]"),
                       Error);
  CHECK_THROWS_AS(instance_norm_leaky_relu(zeros({2, 2, 2, 3}), zeros({3}), zeros({3}), 1e-5f, 0.01f), Error);
  CHECK_THROWS_AS(instance_norm_leaky_relu(zeros({1, 2, 2, 2, 3}), zeros({3}), zeros({2}), 1e-5f, 0.01f), Error);
}
