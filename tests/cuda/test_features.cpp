// Pending norms, final values and pooling on the device, against their definitions in double.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

std::vector<float> random(const std::string& name, int64_t count, double scale, double offset = 0) {
  const Tensor values = field(name, {count}, scale, offset);
  return {values.data<float>(), values.data<float>() + count};
}

/// Slots [count, channels] of parts whose sizes differ, every third of them empty, about means far from zero.
std::vector<cuda::Slot> random_slots(int64_t count, int64_t channels) {
  std::vector<cuda::Slot> slots(size_t(count * channels));
  const std::vector<float> means = random("means", count * channels, 0.5, 300),
                           squares = random("m2", count * channels, 5, 6);
  for (size_t at = 0; at < slots.size(); ++at) {
    const int64_t part = int64_t(at) / channels;
    if (part % 3 != 1) slots[at] = {float(1 + part % 7), means[at], squares[at]};
  }
  return slots;
}

struct Norms {
  std::vector<float> center, factor, shift;
  int trouble;
};
Norms finished_norms(const std::vector<cuda::Slot>& slots, int64_t channels, const std::vector<float>& gain,
                     const std::vector<float>& bias, bool half, int trouble_before = 0) {
  const DeviceArray<cuda::Slot> on_device(slots);
  const DeviceArray<float> center{size_t(channels)}, factor{size_t(channels)}, shift{size_t(channels)};
  const DeviceArray<float> gains(gain), biases(bias);
  const DeviceArray<int> trouble(std::vector<int>{trouble_before});
  cuda::finish_norm(device_queue(), center.data(), factor.data(), shift.data(), on_device.data(),
                    int64_t(slots.size()) / channels, channels, gains.data(), biases.data(), 1e-5f, half,
                    trouble.data());
  return {center.values(), factor.values(), shift.values(), trouble.values()[0]};
}

/// Features in the bytes of a type with what their values are there, and a norm, on the device.
struct FeaturesTwin {
  std::vector<double> expected;  // final values
  std::vector<float> center, factor, shift;
  DeviceArray<uint8_t> bytes;
  DeviceArray<float> device_center, device_factor, device_shift;
  cuda::ConvInput view;

  FeaturesTwin(int64_t voxels, int64_t channels, DType dtype, bool has_norm)
      : center(random("center", channels, 0.2)),
        factor(random("factor", channels, 0.5, 1)),
        shift(random("shift", channels, 0.5)),
        bytes(encoded(random("x", voxels * channels, 1), dtype)),
        device_center(center),
        device_factor(factor),
        device_shift(shift) {
    view = {bytes.data(), dtype, channels, 0, {}};
    if (has_norm) view.norm = {device_center.data(), device_factor.data(), device_shift.data(), 0.01f};
    for (size_t at = 0; at < expected.size() && has_norm; ++at) {
      const size_t c = at % size_t(channels);
      const double y = (expected[at] - double(center[c])) * double(factor[c]) + double(shift[c]);
      expected[at] = y < 0 ? double(0.01f) * y : y;
    }
  }

 private:
  std::vector<uint8_t> encoded(const std::vector<float>& values, DType dtype) {
    std::vector<uint8_t> to(values.size() * size_t(size_of(dtype)));
    for (size_t i = 0; i < values.size(); ++i) {
      float value = values[i];
      if (dtype == DType::f32) std::memcpy(&to[4 * i], &value, 4);
      if (dtype == DType::f16) {
        const f16 half = to_f16(value);
        std::memcpy(&to[2 * i], &half, 2);
        value = to_float(half);
      }
      if (dtype == DType::bf16) {
        const bf16 half = to_bf16(value);
        std::memcpy(&to[2 * i], &half, 2);
        value = to_float(half);
      }
      expected.push_back(double(value));
    }
    return to;
  }
};

double largest_difference(const std::vector<float>& got, const std::vector<double>& want) {
  double largest = got.size() == want.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t at = 0; at < std::min(got.size(), want.size()); ++at) {
    const double difference = std::abs(double(got[at]) - want[at]);
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

}  // namespace

TEST_CASE("finish_norm: slots of any number merge to mean, factor and shift") {
  for (int64_t count : {1, 2, 255, 256, 1001}) {
    for (int64_t channels : {1, 3, 24, 64}) {
      CAPTURE(count);
      CAPTURE(channels);
      const std::vector<cuda::Slot> slots = random_slots(count, channels);
      const std::vector<float> gain = random("gain", channels, 0.3, 1), bias = random("bias", channels, 0.5);
      const Norms got = finished_norms(slots, channels, gain, bias, true);
      CHECK(got.trouble == 0);
      for (int64_t c = 0; c < channels; ++c) {
        double total = 0, mean = 0, square = 0;
        for (size_t at = size_t(c); at < slots.size(); at += size_t(channels)) {
          total += double(slots[at].count);
          mean += double(slots[at].count) * double(slots[at].mean);
        }
        mean /= total;
        for (size_t at = size_t(c); at < slots.size(); at += size_t(channels)) {
          const double apart = double(slots[at].mean) - mean;
          square += double(slots[at].m2) + double(slots[at].count) * apart * apart;
        }
        const double factor = double(gain[size_t(c)]) / std::sqrt(square / total + double(1e-5f));
        REQUIRE(got.center[size_t(c)] == float(mean));
        REQUIRE(double(got.factor[size_t(c)]) == doctest::Approx(factor).epsilon(1e-6));
        const double shift = double(bias[size_t(c)]) - (mean - double(float(mean))) * factor;
        REQUIRE(std::abs(double(got.shift[size_t(c)]) - shift) < 1e-6);
      }
    }
  }
}

TEST_CASE("finish_norm: reports a channel that is not finite, and one that f16 cannot hold") {
  const std::vector<float> gain(8, 1.f), bias(8, 0.f);
  std::vector<cuda::Slot> slots(8 * 3, {10, 1, 10});
  CHECK(finished_norms(slots, 8, gain, bias, true).trouble == 0);
  CHECK(finished_norms(slots, 8, gain, bias, true, 2).trouble == 2);  // an earlier report stays
  slots[13].mean = std::numeric_limits<float>::quiet_NaN();
  CHECK(finished_norms(slots, 8, gain, bias, false).trouble == 1);
  slots[13].mean = std::numeric_limits<float>::infinity();
  CHECK(finished_norms(slots, 8, gain, bias, true).trouble == 1);
  slots[13] = {10, 1, 10 * 9e8f};  // eight deviations of about 17,000 each
  CHECK(finished_norms(slots, 8, gain, bias, false).trouble == 0);
  CHECK(finished_norms(slots, 8, gain, bias, true).trouble == 2);
}

TEST_CASE("finish_features: final values of every type, with and without a norm") {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (int64_t channels : {1, 3, 8, 48}) {
      for (bool has_norm : {false, true}) {
        CAPTURE(int(dtype));
        CAPTURE(channels);
        const FeaturesTwin x(31 * 17, channels, dtype, has_norm);
        const DeviceArray<float> y(x.expected.size());
        cuda::finish_features(device_queue(), y.data(), x.view, 31 * 17);
        CHECK(largest_difference(y.values(), x.expected) < (has_norm ? 5e-7 : 1e-30));
      }
    }
  }
}

TEST_CASE("finish_features: the result may be written over f32 values") {
  const FeaturesTwin x(33, 24, DType::f32, true);
  float* y = reinterpret_cast<float*>(x.bytes.data());
  cuda::finish_features(device_queue(), y, x.view, 33);
  std::vector<float> got(x.expected.size());
  cuda::check(cudaMemcpy(got.data(), y, got.size() * 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
  CHECK(largest_difference(got, x.expected) < 5e-7);
}

TEST_CASE("avg_pool3d: means of blocks of final values") {
  struct Case {
    std::array<int64_t, 3> size;
    int64_t k, channels;
  };
  for (const Case& c : {Case{{1, 2, 3}, 1, 8}, Case{{2, 4, 6}, 2, 3}, Case{{9, 3, 6}, 3, 96}, Case{{8, 16, 8}, 8, 24},
                        Case{{32, 32, 32}, 32, 1}}) {
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      CAPTURE(c.k);
      CAPTURE(int(dtype));
      const auto [H, W, D] = c.size;
      const int64_t k = c.k, OW = W / k, OD = D / k;
      const FeaturesTwin x(H * W * D, c.channels, dtype, dtype != DType::bf16);
      std::vector<double> want(size_t(H / k * OW * OD * c.channels), 0.);
      for (int64_t voxel = 0; voxel < H * W * D; ++voxel) {
        const int64_t to = (voxel / D / W / k * OW + voxel / D % W / k) * OD + voxel % D / k;
        for (int64_t i = 0; i < c.channels; ++i) {
          want[size_t(to * c.channels + i)] += x.expected[size_t(voxel * c.channels + i)] / double(k * k * k);
        }
      }
      const DeviceArray<float> y(want.size());
      cuda::avg_pool3d(device_queue(), y.data(), x.view, c.size, k);
      CHECK(largest_difference(y.values(), want) < 1e-6);
    }
  }
}
