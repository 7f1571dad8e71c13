// Claims: the convolution and the batch norm of heads on images follow their definitions.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/nn/image/conv_layers.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

constexpr int64_t kChannels = 5;

Weights norm_weights(double variance = 1) {
  return Weights::from_tensors({{"norm.weight", field("gain", {kChannels}, 0.1, 1)},
                                {"norm.bias", field("bias", {kChannels}, 0.3)},
                                {"norm.running_mean", field("mean", {kChannels}, 0.5)},
                                {"norm.running_var", field("var", {kChannels}, 0.2, variance)},
                                {"norm.num_batches_tracked", from_ids({1}, {7})}});
}

double normed(const Tensor& x, int64_t i, float eps) {
  const auto at = [&](const char* name, double scale, double offset = 0) {
    return double(field(name, {kChannels}, scale, offset).data<float>()[i % kChannels]);
  };
  return (double(x.data<float>()[i]) - at("mean", 0.5)) / std::sqrt(at("var", 0.2, 1) + double(eps)) *
             at("gain", 0.1, 1) +
         at("bias", 0.3);
}

}  // namespace

TEST_CASE("a batch norm follows its definition with every slope, whatever stands in the batch") {
  const Weights w = norm_weights();
  const BatchNorm norm(w / "norm", kChannels);
  CHECK(w.never_read().empty());
  const Tensor x = field("x", {3, 2, 4, kChannels}, 2);
  for (const float slope : {1.f, 0.f, 0.1f}) {
    CAPTURE(slope);
    const Tensor y = norm(x.clone(), slope);
    REQUIRE(y.shape == x.shape);
    Tensor want(x.shape);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double value = normed(x, i, 1e-5f);
      want.data<float>()[i] = float(value < 0 ? double(slope) * value : value);
    }
    CHECK(mismatch(y, want, {1e-6, 1e-6}) == "");
    CHECK(mismatch(norm(x.slice(1, 2).clone(), slope), y.slice(1, 2), {}) == "");
  }
}

TEST_CASE("the end of a residual block is the ReLU of the sum of norm and input") {
  const BatchNorm norm(norm_weights() / "norm", kChannels);
  const Tensor x = field("x", {2, 3, 2, kChannels}, 2), y = field("y", {2, 3, 2, kChannels}, 1);
  const Tensor sum = add_relu(x.clone(), norm, y);
  Tensor want(x.shape);
  for (int64_t i = 0; i < x.numel(); ++i) {
    want.data<float>()[i] = float(std::max(0., normed(x, i, 1e-5f) + double(y.data<float>()[i])));
  }
  CHECK(mismatch(sum, want, {1e-6, 1e-6}) == "");
}

TEST_CASE("a batch norm with a negative variance is refused") {
  CHECK_THROWS_WITH_AS(BatchNorm(norm_weights(-1) / "norm", kChannels), doctest::Contains("running variance of 'norm'"),
                       Error);
}

TEST_CASE("a convolution reads a bias only where it has one") {
  const Weights w = Weights::from_tensors({{"weight", field("w", {4, 3, 3, 3}, 1)}});
  const Tensor x = field("x", {2, 6, 5, 3}, 1);
  const Conv2d conv(w, {3, 4, 3, 2, 1, false});
  CHECK(conv(x).shape == Shape({2, 3, 3, 4}));
  CHECK_THROWS_WITH_AS(Conv2d(w, {3, 4, 3}), doctest::Contains("tensor 'bias' of shape [4] is missing"), Error);
}
