// Scores on the device: the mask product in both forms against the CPU, bits, importance, the mean.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

std::vector<float> values_of(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

/// Values as a type holds them: bytes for the device, and widened again for the CPU.
struct Held {
  std::vector<uint8_t> bytes;
  Tensor values;
};
Held held(const Tensor& x, DType dtype) {
  const Tensor narrow = x.cast(dtype);
  const auto* from = static_cast<const uint8_t*>(narrow.raw());
  return {{from, from + narrow.bytes()}, narrow.cast(DType::f32)};
}

/// What rounding one value to a type may change, relative to it.
double unit_of(DType dtype) { return dtype == DType::f16 ? 1.0 / 2048 : dtype == DType::bf16 ? 1.0 / 256 : 0; }

/// A pending norm on the device.
struct DeviceNorm {
  DeviceArray<float> center, factor, shift;
  explicit DeviceNorm(const Features& x)
      : center(values_of(x.center)), factor(values_of(x.factor)), shift(values_of(x.shift)) {}
  PendingNorm norm(float slope) const { return {center.data(), factor.data(), shift.data(), slope}; }
};

Features features_of(const Tensor& values, bool pending) {
  Features features;
  features.values = values;
  if (!pending) return features;
  const int64_t C = values.shape[-1];
  features.center = field("center", {1, C}, 0.5);
  features.factor = field("factor", {1, C}, 0.5, 1);
  features.shift = field("shift", {1, C}, 0.25);
  features.slope = 0.01f;
  return features;
}

/// "" or where the device's scores leave the CPU's by more than the types allow: a logit's error is a unit in each
/// factor of each product, and tanh(l / 2) halves it.
std::string compare_scores(const ScoreSizes& grid, int64_t C, int64_t N, const ScoreRegion& region, DType dtype,
                           bool pending) {
  const auto& [S, F, I] = std::tie(grid.scores, grid.features, grid.importance);
  const Held x = held(field("features", {1, F[0], F[1], F[2], C}, 1, 0.2), dtype);
  const Features features = features_of(x.values, pending);
  const Tensor masks = field("masks", {N, C}, 4 / std::sqrt(double(C)));
  const Tensor importance = field("importance", {I[0], I[1], I[2]}, 0.4, 0.6);
  const Tensor before = field("scores", {S[0], S[1], S[2], N}, 1);
  Tensor want = before.clone(), bound = zeros(before.shape);
  accumulate_mask_scores(want, features, masks, importance, region);

  // The same accumulation of |features| and |masks|, without tanh, is what the bound is made of.
  const Tensor final = materialize(features);
  for (int64_t h = 0; h < region.size[0]; ++h) {
    for (int64_t w = 0; w < region.size[1]; ++w) {
      for (int64_t d = 0; d < region.size[2]; ++d) {
        const auto at = [&](const std::array<int64_t, 3>& size, const std::array<int64_t, 3>& first) {
          return ((first[0] + h) * size[1] + first[1] + w) * size[2] + first[2] + d;
        };
        for (int64_t n = 0; n < N; ++n) {
          float sum = 0;
          for (int64_t c = 0; c < C; ++c) {
            sum += std::abs(final.data<float>()[at(F, region.in_features) * C + c] * masks.data<float>()[n * C + c]);
          }
          bound.data<float>()[at(S, region.in_scores) * N + n] = sum;
        }
      }
    }
  }

  const cuda::Stream stream = device_stream();
  DeviceArray<uint8_t> on_device(x.bytes);
  DeviceArray<float> scores(values_of(before)), mask(values_of(masks)), weight(values_of(importance));
  const DeviceNorm norm(features_of(x.values, true));
  cuda::ConvInput input;
  input.values = on_device.data();
  input.dtype = dtype;
  input.channels = C;
  if (pending) input.norm = norm.norm(features.slope);
  cuda::accumulate_mask_scores(stream, scores.data(), input, mask.data(), weight.data(), grid, region);
  const std::vector<float> got = scores.values();
  for (size_t i = 0; i < got.size(); ++i) {
    const double allowed = bound.data<float>()[i] == 0 ? 0 : 2e-6 + unit_of(dtype) * double(bound.data<float>()[i]);
    const double wanted = double(want.data<float>()[i]);
    if (!(std::abs(double(got[i]) - wanted) <= allowed)) {
      return "at " + std::to_string(i) + ": got " + std::to_string(got[i]) + ", want " + std::to_string(wanted);
    }
  }
  return "";
}

}  // namespace

TEST_CASE("mask scores agree with the CPU in every type, and touch the region alone") {
  ScoreRegion region;
  region.in_features = {1, 0, 2};
  region.in_importance = {0, 1, 0};
  region.in_scores = {2, 1, 3};
  for (const auto& [size, C, N] : {std::tuple<std::array<int64_t, 3>, int64_t, int64_t>{{1, 1, 1}, 1, 1},
                                   {{2, 3, 5}, 3, 2},
                                   {{2, 2, 17}, 8, 33},
                                   {{3, 3, 31}, 24, 65},
                                   {{2, 4, 33}, 64, 32},
                                   {{1, 2, 33}, 96, 31},
                                   {{1, 1, 15}, 128, 17},
                                   {{1, 2, 9}, 136, 8}}) {
    region.size = size;
    ScoreSizes grid{{size[0] + 2, size[1] + 1, size[2] + 4},
                    {size[0] + 1, size[1] + 1, size[2] + 2},
                    {size[0], size[1] + 1, size[2] + 1},
                    C,
                    N};
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      for (bool pending : {false, true}) {
        CAPTURE(C);
        CAPTURE(N);
        CAPTURE(name_of(dtype));
        CAPTURE(pending);
        CHECK(compare_scores(grid, C, N, region, dtype, pending) == "");
      }
    }
  }
}

TEST_CASE("a large logit adds the whole importance, and nothing else") {
  const cuda::Stream stream = device_stream();
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const Held x = held(full({1, 1, 1, 3, 8}, 300), dtype);
    DeviceArray<uint8_t> on_device(x.bytes);
    std::vector<float> masks(16, 5);
    for (size_t c = 8; c < 16; ++c) masks[c] = -5;
    DeviceArray<float> scores(std::vector<float>(6, 1)), mask(masks), weight(std::vector<float>(3, 0.5f));
    cuda::ConvInput input;
    input.values = on_device.data();
    input.dtype = dtype;
    input.channels = 8;
    const ScoreRegion region{{}, {}, {}, {1, 1, 3}};
    cuda::accumulate_mask_scores(stream, scores.data(), input, mask.data(), weight.data(),
                                 {{1, 1, 3}, {1, 1, 3}, {1, 1, 3}, 8, 2}, region);
    CHECK(scores.values() == std::vector<float>{1.5f, 0.5f, 1.5f, 0.5f, 1.5f, 0.5f});
  }
}

TEST_CASE("a mask that is not a number shows in its prompt's scores alone") {
  const cuda::Stream stream = device_stream();
  for (int64_t channels : {8, 5}) {  // both forms
    for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      const Held x = held(full({1, 1, 1, 2, channels}, 1), dtype);
      DeviceArray<uint8_t> on_device(x.bytes);
      std::vector<float> masks(size_t(3 * channels), 0);
      masks[size_t(channels)] = NAN;
      DeviceArray<float> scores(std::vector<float>(6, 1)), mask(masks), weight(std::vector<float>(2, 1));
      cuda::ConvInput input;
      input.values = on_device.data();
      input.dtype = dtype;
      input.channels = channels;
      cuda::accumulate_mask_scores(stream, scores.data(), input, mask.data(), weight.data(),
                                   {{1, 1, 2}, {1, 1, 2}, {1, 1, 2}, channels, 3}, {{}, {}, {}, {1, 1, 2}});
      const std::vector<float> got = scores.values();
      for (size_t i = 0; i < got.size(); ++i) CHECK((i % 3 == 1 ? std::isnan(got[i]) : got[i] == 1));
    }
  }
}

TEST_CASE("bits are the signs of the logits, zero being no") {
  const cuda::Stream stream = device_stream();
  // Small whole numbers: every product and sum is exact in every type, so bits must be equal, zeros included.
  int64_t zeros_met = 0;
  for (const auto& [voxels, C, N] : {std::array<int64_t, 3>{1, 1, 1},
                                     {31, 3, 2},
                                     {33, 8, 33},
                                     {257, 24, 3},
                                     {600, 64, 65},
                                     {65, 128, 31},
                                     {40, 136, 5}}) {
    std::vector<float> values(size_t(voxels * C)), masks(size_t(N * C));
    uint32_t state = 1;
    const auto small = [&state] { return float(int((state = state * 1664525 + 1013904223) >> 16) % 7 - 3); };
    for (float& value : values) value = small();
    for (float& value : masks) value = small();
    for (bool pending : {false, true}) {
      const auto channels = size_t(C);
      DeviceArray<float> center(std::vector<float>(channels, 1)), factor(std::vector<float>(channels, 2)),
          shift(std::vector<float>(channels, -1)), mask(masks);
      const int64_t words = (voxels + 31) / 32;
      std::vector<uint32_t> want(size_t(N * words), 0);
      for (int64_t v = 0; v < voxels; ++v) {
        for (int64_t n = 0; n < N; ++n) {
          float logit = 0;
          for (int64_t c = 0; c < C; ++c) {
            float x = values[size_t(v * C + c)];
            if (pending) x = (x - 1) * 2 - 1;
            if (pending && x < 0) x *= 0.5f;
            logit += x * masks[size_t(n * C + c)];
          }
          zeros_met += logit == 0;
          if (logit > 0) want[size_t(n * words + v / 32)] |= uint32_t(1) << (v % 32);
        }
      }
      for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
        CAPTURE(voxels);
        CAPTURE(C);
        CAPTURE(N);
        CAPTURE(name_of(dtype));
        CAPTURE(pending);
        const Held x = held(from_values({voxels, C}, values), dtype);
        DeviceArray<uint8_t> on_device(x.bytes);
        DeviceArray<uint32_t> bits(want.size());
        cuda::ConvInput input;
        input.values = on_device.data();
        input.dtype = dtype;
        input.channels = C;
        if (pending) input.norm = {center.data(), factor.data(), shift.data(), 0.5f};
        cuda::mask_bits(stream, bits.data(), input, mask.data(), voxels, N);
        CHECK(bits.values() == want);
      }
    }
  }
  CHECK(zeros_met > 0);
}

TEST_CASE("importance is added over a region, and touches it alone") {
  const DeviceContext device(Precision::exact);
  const ScoreRegion region{{}, {1, 0, 1}, {1, 2, 5}, {2, 3, 33}};
  const Tensor before = field("weights", {4, 5, 40}, 1), importance = field("importance", {3, 4, 34}, 1);
  Tensor weights = to_compute_device(before), want = before.clone();
  accumulate_importance(weights, to_compute_device(importance), region);
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t w = 0; w < 3; ++w) {
      for (int64_t d = 0; d < 33; ++d) {
        want.data<float>()[((h + 1) * 5 + w + 2) * 40 + d + 5] +=
            importance.data<float>()[((h + 1) * 4 + w) * 34 + d + 1];
      }
    }
  }
  CHECK(mismatch(to_host(weights), want, {}) == "");
}

TEST_CASE("rows along an axis are divided by their weights, the others stay") {
  const DeviceContext device(Precision::exact);
  struct Case {
    Shape shape;  // [S0, S1, S2, N]
    int axis;
  };
  for (const Case& c :
       {Case{{4, 11, 3, 3}, 0}, Case{{3, 5, 7, 2}, 1}, Case{{2, 3, 70, 1}, 2}, Case{{2, 3, 65, 33}, 1}}) {
    const Tensor before = field("scores", c.shape, 1), by = field("weights", c.shape.with(3, 1), 0.5, 1);
    const int64_t N = c.shape[3], last = c.shape[c.axis] - 1;
    int64_t inner = 1;
    for (int axis = c.axis + 1; axis < 3; ++axis) inner *= c.shape[axis];
    Tensor scores = to_compute_device(before), want = before.clone();
    const Tensor weights = to_compute_device(by.reshape({c.shape[0], c.shape[1], c.shape[2]}));
    divide_rows(scores, weights, c.axis, 1, last);
    for (int64_t i = 0; i < want.numel(); ++i) {
      const int64_t row = i / N / inner % c.shape[c.axis];
      if (row >= 1 && row < last) want.data<float>()[i] /= by.data<float>()[i / N];
    }
    CHECK(mismatch(to_host(scores), want, {}) == "");
    divide_rows(scores, weights, c.axis, 1, 1);  // no rows
    CHECK(mismatch(to_host(scores), want, {}) == "");
  }
}

TEST_CASE("the op takes features with their norm, and masks that were computed on the device") {
  for (Precision precision : {Precision::exact, Precision::fast}) {
    const DeviceContext device(precision);
    const DType type = precision == Precision::exact ? DType::f32 : DType::f16;
    const Tensor x = field("features", {1, 3, 4, 5, 16}, 1).cast(type), masks = field("masks", {7, 16}, 0.5);
    const Tensor importance = field("importance", {3, 4, 5}, 0.4, 0.6), before = field("scores", {4, 4, 6, 7}, 1);
    const Features here = features_of(x, true);
    Features there{to_compute_device(x)};
    there.center = to_compute_device(here.center);
    there.factor = to_compute_device(here.factor);
    there.shift = to_compute_device(here.shift);
    there.slope = here.slope;
    const ScoreRegion region{{1, 0, 2}, {0, 1, 0}, {2, 0, 3}, {2, 3, 3}};
    Tensor want = before.clone(), got = to_compute_device(before);
    accumulate_mask_scores(want, here, masks, importance, region);
    accumulate_mask_scores(got, there, to_compute_device(masks), to_compute_device(importance), region);
    const double bound = precision == Precision::exact ? 2e-6 : 1e-2;
    CHECK(mismatch(to_host(got), want, {0, bound}) == "");
  }
}
