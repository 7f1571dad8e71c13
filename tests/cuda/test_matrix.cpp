// What surrounds dense layers on the device, against its definition in double.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

std::vector<float> values_of(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

}  // namespace

TEST_CASE("rounding to a half type is to nearest, and the padding is zero") {
  const cuda::Queue queue = device_queue();
  for (const auto& [rows, columns, padded] :
       {std::array<int64_t, 3>{1, 1, 1}, {1, 1, 16}, {3, 17, 32}, {2, 255, 256}, {2, 256, 272}, {33, 300, 304}}) {
    CAPTURE(rows);
    CAPTURE(columns);
    std::vector<float> x = values_of(field("x", {rows, columns}, 100));
    x[0] = 1e-6f;  // not a normal number in f16
    DeviceArray<float> from(x);
    DeviceArray<uint16_t> half(size_t(rows * padded)), brain(size_t(rows * padded));
    cuda::narrow(queue, half.data(), DType::f16, from.data(), rows, columns, padded);
    cuda::narrow(queue, brain.data(), DType::bf16, from.data(), rows, columns, padded);
    std::vector<uint16_t> want_half(half.values().size(), 0), want_brain = want_half;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        want_half[size_t(r * padded + c)] = to_f16(x[size_t(r * columns + c)]).bits;
        want_brain[size_t(r * padded + c)] = to_bf16(x[size_t(r * columns + c)]).bits;
      }
    }
    CHECK(half.values() == want_half);
    CHECK(brain.values() == want_brain);
  }
  CHECK_THROWS_WITH_AS(cuda::narrow(queue, nullptr, DType::f32, nullptr, 1, 1, 1), "narrow: f32 is not a half type",
                       Error);
}

TEST_CASE("bias and activation follow their definition, with and without a bias") {
  const cuda::Queue queue = device_queue();
  for (const auto& [rows, out] : {std::array<int64_t, 2>{1, 1}, {3, 17}, {2, 256}, {5, 300}, {0, 4}}) {
    const std::vector<float> x = values_of(field("x", {rows, out}, 6)), bias = values_of(field("bias", {out}, 1));
    DeviceArray<float> added(bias);
    for (Activation act : {Activation::none, Activation::relu, Activation::gelu}) {
      for (bool biased : {false, true}) {
        DeviceArray<float> y(x);
        cuda::bias_act(queue, y.data(), biased ? added.data() : nullptr, rows, out, act);
        const std::vector<float> got = y.values();
        double worst = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const double sum = double(x[i] + (biased ? bias[i % size_t(out)] : 0.f));
          const double gelu = 0.5 * sum * std::erfc(-sum / std::sqrt(2.0));
          const double want = act == Activation::gelu ? gelu : act == Activation::relu ? std::max(sum, 0.0) : sum;
          worst = std::max(worst, std::abs(double(got[i]) - want) / std::max(1.0, std::abs(sum)));
        }
        CHECK(worst <= (act == Activation::gelu ? 2e-7 : 0));
      }
    }
  }
}

TEST_CASE("rows of a table arrive as they are") {
  const cuda::Queue queue = device_queue();
  for (int64_t channels : {1, 33, 256, 257}) {
    const std::vector<float> table = values_of(field("table", {7, channels}, 1));
    const std::vector<int64_t> ids = {6, 0, 3, 3, 1};
    DeviceArray<float> from(table), y(ids.size() * size_t(channels));
    DeviceArray<int64_t> at(ids);
    cuda::gather_rows(queue, y.data(), from.data(), at.data(), int64_t(ids.size()), channels);
    const std::vector<float> got = y.values();
    for (size_t r = 0; r < ids.size(); ++r) {
      CHECK(std::memcmp(&got[r * size_t(channels)], &table[size_t(ids[r] * channels)], size_t(channels) * 4) == 0);
    }
  }
}

TEST_CASE("a sum repeats its second term each period") {
  const cuda::Queue queue = device_queue();
  for (const auto& [count, period] : {std::array<int64_t, 2>{1, 1}, {255, 255}, {600, 3}, {514, 257}}) {
    const std::vector<float> x = values_of(field("x", {count}, 1)), y = values_of(field("y", {period}, 1));
    DeviceArray<float> a(x), b(y), z(x.size());
    cuda::add(queue, z.data(), a.data(), b.data(), count, period);
    std::vector<float> want = x;
    for (size_t i = 0; i < want.size(); ++i) want[i] += y[i % size_t(period)];
    CHECK(z.values() == want);
  }
}

TEST_CASE("layer norm follows its definition, also far from zero and in place") {
  const cuda::Queue queue = device_queue();
  for (const auto& [rows, channels] : {std::array<int64_t, 2>{1, 1}, {2, 31}, {9, 33}, {17, 768}}) {
    CAPTURE(channels);
    for (double offset : {0.0, 1000.0}) {
      const std::vector<float> x = values_of(field("x", {rows, channels}, 1, offset));
      const std::vector<float> gain = values_of(field("gain", {channels}, 1, 1)),
                               bias = values_of(field("bias", {channels}, 1));
      DeviceArray<float> from(x), y(x.size()), scale(gain), shift(bias);
      cuda::layer_norm(queue, y.data(), from.data(), scale.data(), shift.data(), rows, channels, 1e-5f);
      const std::vector<float> got = y.values();
      double worst = 0;
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * channels;
        double mean = 0, squares = 0;
        for (int64_t c = 0; c < channels; ++c) mean += double(row[c]) / double(channels);
        for (int64_t c = 0; c < channels; ++c) squares += std::pow(double(row[c]) - mean, 2);
        const double deviation = std::sqrt(squares / double(channels) + 1e-5);
        for (int64_t c = 0; c < channels; ++c) {
          const double want = (double(row[c]) - mean) / deviation * double(gain[size_t(c)]) + double(bias[size_t(c)]);
          worst = std::max(worst, std::abs(double(got[size_t(r * channels + c)]) - want));
        }
      }
      CHECK(worst < (offset == 0 ? 2e-6 : 5e-4));  // values of 1000 carry 6e-5 each, a mean of them no less
      cuda::layer_norm(queue, from.data(), from.data(), scale.data(), shift.data(), rows, channels, 1e-5f);
      CHECK(from.values() == got);
    }
  }
}
