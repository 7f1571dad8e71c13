// Pending norms, final values and pooling on the device, against their definitions in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

std::vector<float> random(const std::string& name, int64_t count, double scale, double offset = 0) {
  const Tensor values = field(name, {count}, scale, offset);
  return {values.data<float>(), values.data<float>() + count};
}

/// Partials [count, channels] of parts whose sizes differ, every third of them empty, about means far from zero.
std::vector<cuda::PartialMoments> random_partials(int64_t count, int64_t channels) {
  std::vector<cuda::PartialMoments> partials(size_t(count * channels));
  const std::vector<float> means = random("means", count * channels, 0.5, 300),
                           squares = random("m2", count * channels, 5, 6);
  for (size_t at = 0; at < partials.size(); ++at) {
    const int64_t part = int64_t(at) / channels;
    if (part % 3 != 1) partials[at] = {float(1 + part % 7), means[at], squares[at]};
  }
  return partials;
}

struct Norms {
  std::vector<float> center, factor, shift, rstd;
  int error_flag;
};
Norms finished_norms(const std::vector<cuda::PartialMoments>& partials, int64_t channels,
                     const std::vector<float>& gain, const std::vector<float>& bias, bool half, int flag_before = 0) {
  const DeviceArray<cuda::PartialMoments> on_device(partials);
  const DeviceArray<float> center{size_t(channels)}, factor{size_t(channels)}, shift{size_t(channels)},
      rstd{size_t(channels)};
  const DeviceArray<float> gains(gain), biases(bias);
  const DeviceArray<int> error_flag(std::vector<int>{flag_before});
  cuda::pending_norm(device_stream(), {center.data(), factor.data(), shift.data(), rstd.data()}, on_device.data(),
                     int64_t(partials.size()) / channels, channels, gains.data(), biases.data(), 1e-5f, half,
                     error_flag.data());
  return {center.values(), factor.values(), shift.values(), rstd.values(), error_flag.values()[0]};
}

/// Features on the device, and what their final values are.
struct FeaturesReference {
  std::vector<double> expected;
  Features features;

  FeaturesReference(const Shape& shape, DType dtype, bool has_norm) {
    const Tensor values = field("x", shape, 1).cast(dtype), wide = values.cast(DType::f32);
    const Shape per_channel({shape[0], shape[4]});
    const Tensor center = field("center", per_channel, 0.2), factor = field("factor", per_channel, 0.5, 1),
                 shift = field("shift", per_channel, 0.5);
    features.values = to_compute_device(values);
    if (has_norm) {
      features.center = to_compute_device(center);
      features.factor = to_compute_device(factor);
      features.shift = to_compute_device(shift);
      features.slope = 0.01f;
    }
    const int64_t a_sample = wide.numel() / shape[0];
    for (int64_t at = 0; at < wide.numel(); ++at) {
      const int64_t c = at / a_sample * shape[4] + at % shape[4];
      const double x = double(wide.data<float>()[at]);
      const double y =
          (x - double(center.data<float>()[c])) * double(factor.data<float>()[c]) + double(shift.data<float>()[c]);
      expected.push_back(has_norm ? y < 0 ? double(0.01f) * y : y : x);
    }
  }
};

double largest_difference(const Tensor& on_device, const std::vector<double>& want) {
  const Tensor got = to_host(on_device);
  double largest = size_t(got.numel()) == want.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t at = 0; at < std::min(size_t(got.numel()), want.size()); ++at) {
    const double difference = std::abs(double(got.data<float>()[at]) - want[at]);
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

}  // namespace

TEST_CASE("pending_norm: partials of any number merge to mean, factor and shift") {
  for (int64_t count : {1, 2, 255, 256, 1001}) {
    for (int64_t channels : {1, 3, 24, 64}) {
      CAPTURE(count);
      CAPTURE(channels);
      const std::vector<cuda::PartialMoments> partials = random_partials(count, channels);
      const std::vector<float> gain = random("gain", channels, 0.3, 1), bias = random("bias", channels, 0.5);
      const Norms got = finished_norms(partials, channels, gain, bias, true);
      CHECK(got.error_flag == 0);
      for (int64_t c = 0; c < channels; ++c) {
        double total = 0, mean = 0, square = 0;
        for (size_t at = size_t(c); at < partials.size(); at += size_t(channels)) {
          total += double(partials[at].count);
          mean += double(partials[at].count) * double(partials[at].mean);
        }
        mean /= total;
        for (size_t at = size_t(c); at < partials.size(); at += size_t(channels)) {
          const double apart = double(partials[at].mean) - mean;
          square += double(partials[at].m2) + double(partials[at].count) * apart * apart;
        }
        const double factor = double(gain[size_t(c)]) / std::sqrt(square / total + double(1e-5f));
        REQUIRE(got.center[size_t(c)] == float(mean));
        REQUIRE(double(got.factor[size_t(c)]) == doctest::Approx(factor).epsilon(1e-6));
        REQUIRE(double(got.rstd[size_t(c)]) == doctest::Approx(factor / double(gain[size_t(c)])).epsilon(1e-6));
        const double shift = double(bias[size_t(c)]) - (mean - double(float(mean))) * factor;
        REQUIRE(std::abs(double(got.shift[size_t(c)]) - shift) < 1e-6);
      }
    }
  }
}

TEST_CASE("pending_norm: reports a channel that is not finite, and one that f16 cannot hold") {
  const std::vector<float> gain(8, 1.f), bias(8, 0.f);
  std::vector<cuda::PartialMoments> partials(8 * 3, {10, 1, 10});
  CHECK(finished_norms(partials, 8, gain, bias, true).error_flag == 0);
  CHECK(finished_norms(partials, 8, gain, bias, true, 2).error_flag == 2);  // an earlier report stays
  partials[13].mean = std::numeric_limits<float>::quiet_NaN();
  CHECK(finished_norms(partials, 8, gain, bias, false).error_flag == 1);
  partials[13].mean = std::numeric_limits<float>::infinity();
  CHECK(finished_norms(partials, 8, gain, bias, true).error_flag == 1);
  partials[13] = {10, 1, 10 * 9e8f};  // eight deviations of about 17,000 each
  CHECK(finished_norms(partials, 8, gain, bias, false).error_flag == 0);
  CHECK(finished_norms(partials, 8, gain, bias, true).error_flag == 2);
}

TEST_CASE("materialize: final values of every type, with and without a norm") {
  const DeviceContext device(Precision::exact);
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (int64_t channels : {1, 3, 8, 48}) {
      for (bool has_norm : {false, true}) {
        CAPTURE(int(dtype));
        CAPTURE(channels);
        const FeaturesReference x({2, 31, 1, 17, channels}, dtype, has_norm);
        CHECK(largest_difference(materialize(x.features), x.expected) < (has_norm ? 5e-7 : 1e-30));
      }
    }
  }
}

TEST_CASE("materialize: the result is written over f32 values that nobody else holds") {
  const DeviceContext device(Precision::exact);
  FeaturesReference x({1, 3, 11, 1, 24}, DType::f32, true);
  const auto* buffer = x.features.values.buffer.get();
  const Tensor apart = materialize(x.features), over = materialize(std::move(x.features));
  CHECK(apart.buffer.get() != buffer);
  CHECK(over.buffer.get() == buffer);
  CHECK(largest_difference(apart, x.expected) < 5e-7);
  CHECK(mismatch(to_host(over), to_host(apart), {}) == "");
}

TEST_CASE("avg_pool3d: means of blocks of final values") {
  const DeviceContext device(Precision::exact);
  struct Case {
    Shape shape;
    int64_t k;
  };
  for (const Case& c : {Case{{1, 1, 2, 3, 8}, 1}, Case{{2, 2, 4, 6, 3}, 2}, Case{{1, 9, 3, 6, 96}, 3},
                        Case{{2, 8, 16, 8, 24}, 8}, Case{{1, 32, 32, 32, 1}, 32}}) {
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      CAPTURE(c.k);
      CAPTURE(int(dtype));
      const int64_t k = c.k, H = c.shape[1], W = c.shape[2], D = c.shape[3], channels = c.shape[4];
      const FeaturesReference x(c.shape, dtype, dtype != DType::bf16);
      std::vector<double> want(x.expected.size() / size_t(k * k * k), 0.);
      for (int64_t voxel = 0; voxel < c.shape[0] * H * W * D; ++voxel) {  // rows of all samples: k divides H
        const int64_t to = (voxel / D / W / k * (W / k) + voxel / D % W / k) * (D / k) + voxel % D / k;
        for (int64_t i = 0; i < channels; ++i) {
          want[size_t(to * channels + i)] += x.expected[size_t(voxel * channels + i)] / double(k * k * k);
        }
      }
      CHECK(largest_difference(avg_pool3d(x.features, k), want) < 1e-6);
    }
  }
}

TEST_CASE("the norm that a convolution leaves says what its deviations are") {
  const DeviceContext device(Precision::exact);
  const NormWeights norm{to_compute_device(field("gain", {5}, 0.2, 1)), to_compute_device(field("bias", {5}, 1))};
  const Tensor weight = field("weight", {5, 3, 3, 3, 3}, 0.2);
  const Features y =
      conv3d_norm({to_compute_device(field("x", {2, 4, 5, 6, 3}, 1))}, pack_conv_block(weight, {}), norm);
  const Tensor values = to_host(y.values), rstd = to_host(y.rstd), factor = to_host(y.factor),
               gain = to_host(norm.gain);
  REQUIRE(rstd.shape == Shape({2, 5}));
  for (int64_t at = 0; at < 10; ++at) {
    double mean = 0, square = 0;
    const float* sample = values.data<float>() + at / 5 * 600 + at % 5;
    for (int64_t v = 0; v < 120; ++v) mean += double(sample[v * 5]) / 120;
    for (int64_t v = 0; v < 120; ++v) square += std::pow(double(sample[v * 5]) - mean, 2) / 120;
    const double want = 1 / std::sqrt(square + double(norm.eps));
    CHECK(double(rstd.data<float>()[at]) == doctest::Approx(want).epsilon(1e-6));
    CHECK(double(factor.data<float>()[at]) == doctest::Approx(want * double(gain.data<float>()[at % 5])).epsilon(1e-6));
  }
}
