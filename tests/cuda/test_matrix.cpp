// Dense layers and rows of matrices on the device, against their definitions in double.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "sat/tensor/ops.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor there(const Tensor& x) { return to_compute_device(x); }

/// A dense layer that changes nothing: its result is what its operands were rounded to.
PackedMatrix identity(int64_t size) {
  Tensor weight = full({size, size}, 0);
  for (int64_t i = 0; i < size; ++i) weight.data<float>()[i * size + i] = 1;
  return pack_linear(weight);
}

}  // namespace

TEST_CASE("operands of a dense layer are rounded to the nearest of a half type, and what fills their rows is zero") {
  for (DType dtype : {DType::f16, DType::bf16}) {
    cuda::DeviceOptions options;
    options.half = dtype;
    const DeviceContext device(Precision::fast, options);
    for (const auto& [rows, columns] : {std::array<int64_t, 2>{1, 1}, {3, 17}, {2, 255}, {2, 256}, {33, 300}}) {
      CAPTURE(name_of(dtype));
      CAPTURE(columns);
      Tensor x = field("x", {rows, columns}, 100);
      x.data<float>()[0] = 1e-6f;  // not a normal number in f16
      const Tensor y = to_host(linear(there(x), identity(columns), Tensor()));
      CHECK(mismatch(y, x.cast(dtype).cast(DType::f32), {}) == "");
    }
  }
}

TEST_CASE("bias and activation follow their definition, with and without a bias") {
  const DeviceContext device(Precision::exact);
  for (const auto& [rows, out] : {std::array<int64_t, 2>{1, 1}, {3, 17}, {2, 256}, {5, 300}, {0, 4}}) {
    const Tensor x = field("x", {rows, out}, 6), bias = field("bias", {out}, 1);
    for (Activation act : {Activation::none, Activation::relu, Activation::gelu}) {
      for (bool biased : {false, true}) {
        const Tensor y = to_host(linear(there(x), identity(out), biased ? there(bias) : Tensor(), act));
        double worst = 0;
        for (int64_t i = 0; i < x.numel(); ++i) {
          const double sum = double(x.data<float>()[i] + (biased ? bias.data<float>()[i % out] : 0.f));
          const double gelu = 0.5 * sum * std::erfc(-sum / std::sqrt(2.0));
          const double want = act == Activation::gelu ? gelu : act == Activation::relu ? std::max(sum, 0.0) : sum;
          worst = std::max(worst, std::abs(double(y.data<float>()[i]) - want) / std::max(1.0, std::abs(sum)));
        }
        CHECK(worst <= (act == Activation::gelu ? 2e-7 : 0));
      }
    }
  }
}

TEST_CASE("the product of two computed matrices is taken in f32 at every precision") {
  for (Precision precision : {Precision::exact, Precision::fast}) {
    const DeviceContext device(precision);
    for (const auto& [rows, channels, columns] : {std::array<int64_t, 3>{1, 1, 1}, {3, 17, 5}, {33, 64, 31}}) {
      const Tensor a = field("a", {rows, channels}, 1), b = field("b", {columns, channels}, 1);
      const Tensor y = to_host(product_transposed(there(a), there(b)));
      REQUIRE(y.shape == Shape({rows, columns}));
      double worst = 0;
      for (int64_t i = 0; i < y.numel(); ++i) {
        double want = 0;
        for (int64_t c = 0; c < channels; ++c) {
          want +=
              double(a.data<float>()[i / columns * channels + c]) * double(b.data<float>()[i % columns * channels + c]);
        }
        worst = std::max(worst, std::abs(double(y.data<float>()[i]) - want));
      }
      CHECK(worst < 1e-5);
    }
  }
}

TEST_CASE("rows of a table arrive as they are") {
  const DeviceContext device(Precision::exact);
  const std::vector<int64_t> ids = {6, 0, 3, 3, 1};
  for (int64_t channels : {1, 33, 256, 257}) {
    const Tensor table = field("table", {7, channels}, 1);
    const Tensor y = to_host(gather_rows(there(table), ids));
    for (size_t r = 0; r < ids.size(); ++r) {
      CHECK(mismatch(y.select(int64_t(r)), table.select(ids[r]), {}) == "");
    }
  }
}

TEST_CASE("means of runs of rows leave out rows that do not count, and are 0 where none does") {
  const DeviceContext device(Precision::exact);
  const std::vector<int64_t> first = {0, 1, 4, 6, 11};
  const std::vector<uint8_t> counted = {1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0};
  for (int64_t channels : {1, 33, 300}) {
    Tensor x = field("x", {11, channels}, 1, 100);
    x.data<float>()[2 * channels] = std::numeric_limits<float>::quiet_NaN();  // of a row that does not count
    const Tensor y = to_host(mean_of_rows(there(x), first, counted));
    REQUIRE(y.shape == Shape({4, channels}));
    Tensor want(y.shape);
    for (int64_t i = 0; i < want.numel(); ++i) {
      const auto run = size_t(i / channels);
      double sum = 0, count = 0;
      for (int64_t row = first[run]; row < first[run + 1]; ++row) {
        if (!counted[size_t(row)]) continue;
        sum += double(x.data<float>()[row * channels + i % channels]);
        ++count;
      }
      want.data<float>()[i] = float(sum / std::max(1e-9, count));
    }
    CHECK(mismatch(y, want, {}) == "");
    CHECK(y.data<float>()[2 * channels] == 0);
    CHECK(mismatch(mean_of_rows(x, first, counted), y, {}) == "");  // on the CPU
  }
}

TEST_CASE("a sum repeats its second term for each row") {
  const DeviceContext device(Precision::exact);
  for (const auto& [rows, columns] : {std::array<int64_t, 2>{1, 1}, {1, 255}, {200, 3}, {2, 257}}) {
    const Tensor x = field("x", {rows, columns}, 1), y = field("y", {columns}, 1);
    Tensor want = x.clone();
    for (int64_t i = 0; i < want.numel(); ++i) want.data<float>()[i] += y.data<float>()[i % columns];
    CHECK(mismatch(to_host(add(there(x), there(y))), want, {}) == "");
    for (int64_t i = 0; i < want.numel(); ++i) want.data<float>()[i] = 2 * x.data<float>()[i];
    CHECK(mismatch(to_host(add(there(x), there(x))), want, {}) == "");
  }
}

TEST_CASE("layer norm follows its definition, also far from zero") {
  const DeviceContext device(Precision::exact);
  for (const auto& [rows, channels] : {std::array<int64_t, 2>{1, 1}, {2, 31}, {9, 33}, {17, 768}}) {
    CAPTURE(channels);
    for (double offset : {0.0, 1000.0}) {
      const Tensor x = field("x", {rows, channels}, 1, offset);
      const Tensor gain = field("gain", {channels}, 1, 1), bias = field("bias", {channels}, 1);
      const Tensor y = to_host(layer_norm(there(x), there(gain), there(bias), 1e-5f));
      double worst = 0;
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data<float>() + r * channels;
        double mean = 0, squares = 0;
        for (int64_t c = 0; c < channels; ++c) mean += double(row[c]) / double(channels);
        for (int64_t c = 0; c < channels; ++c) squares += std::pow(double(row[c]) - mean, 2);
        const double deviation = std::sqrt(squares / double(channels) + 1e-5);
        for (int64_t c = 0; c < channels; ++c) {
          const double want =
              (double(row[c]) - mean) / deviation * double(gain.data<float>()[c]) + double(bias.data<float>()[c]);
          worst = std::max(worst, std::abs(double(y.data<float>()[r * channels + c]) - want));
        }
      }
      CHECK(worst < (offset == 0 ? 2e-6 : 5e-4));  // values of 1000 carry 6e-5 each, a mean of them no less
    }
  }
}
