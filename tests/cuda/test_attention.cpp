// Attention on the device: every variant against the CPU at awkward sizes, segments, masks, names and refusals.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "sat/cuda/kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/device_context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;
using cuda::AttentionVariant;

namespace {

std::vector<float> values_of(const Tensor& x) { return {x.data<float>(), x.data<float>() + x.numel()}; }

struct Case {
  Tensor q, k, v, bias;
  int64_t heads;
};

Case make_case(int64_t N, int64_t T, int64_t heads, int64_t width, bool biased) {
  const int64_t C = heads * width;
  return {field("q", {N, C}, 2), field("k", {T, C}, 2), field("v", {T, C}, 1),
          biased ? field("bias", {heads, N, T}, 3) : Tensor(), heads};
}

Tensor on_device(AttentionVariant variant, const Case& x, DType products) {
  DeviceArray<float> q(values_of(x.q)), k(values_of(x.k)), v(values_of(x.v)), y(size_t(x.q.numel()));
  DeviceArray<float> bias(x.bias.empty() ? std::vector<float>() : values_of(x.bias));
  cuda::Attention sizes{};
  sizes.q = q.data();
  sizes.k = k.data();
  sizes.v = v.data();
  sizes.bias = x.bias.empty() ? nullptr : bias.data();
  sizes.y = y.data();
  sizes.queries = x.q.shape[0];
  sizes.tokens = x.k.shape[0];
  sizes.channels = x.q.shape[1];
  sizes.heads = x.heads;
  sizes.products = products;
  cuda::attention(device_stream(), variant, sizes);
  return from_values(x.q.shape, y.values());
}

/// What each way to compute may be off, of values up to 1: f32 sums, or one rounding of each factor of each product.
struct Way {
  AttentionVariant variant;
  DType products;
  double bound;
};
const Way kWays[] = {{AttentionVariant::plain, DType::f32, 1e-5},
                     {AttentionVariant::tiled, DType::f32, 1e-5},
                     {AttentionVariant::fused, DType::f16, 2e-3},
                     {AttentionVariant::fused, DType::bf16, 1.5e-2}};

std::string difference(const Case& x, const Way& way) {
  const Tensor want = attention(x.q, x.k, x.v, x.heads, x.bias);
  return mismatch(on_device(way.variant, x, way.products), want, {0, way.bound});
}

}  // namespace

TEST_CASE("attention agrees with the CPU at awkward sizes, with and without a bias") {
  for (const auto& [N, T, heads, width] : {std::array<int64_t, 4>{1, 1, 1, 32},
                                           {2, 17, 2, 24},
                                           {15, 31, 8, 64},
                                           {33, 243, 8, 96},
                                           {65, 31, 1, 96},
                                           {65, 243, 2, 64},
                                           {33, 64, 2, 33},
                                           {1, 65, 3, 5},
                                           {15, 17, 1, 32},
                                           {70, 67, 2, 16}}) {
    for (bool biased : {false, true}) {
      const Case x = make_case(N, T, heads, width, biased);
      for (const Way& way : kWays) {
        CAPTURE(name_of(way.variant));
        CAPTURE(name_of(way.products));
        CAPTURE(N);
        CAPTURE(T);
        CAPTURE(width);
        CAPTURE(biased);
        CHECK(difference(x, way) == "");
      }
    }
  }
}

TEST_CASE("attention to many keys agrees with the CPU") {
  const Case x = make_case(2, 1370, 1, 64, false);
  for (const Way& way : kWays) {
    CAPTURE(name_of(way.products));
    CHECK(difference(x, way) == "");
  }
}

TEST_CASE("a masked key weighs nothing, and a row of masked keys is what softmax makes of it") {
  for (float never : {-1e30f, std::numeric_limits<float>::lowest(), -std::numeric_limits<float>::infinity()}) {
    CAPTURE(never);
    Case x = make_case(3, 70, 2, 32, true);
    const auto mask = [&](int64_t n, int64_t first, int64_t last) {
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t t = first; t < last; ++t) x.bias.data<float>()[(h * 3 + n) * 70 + t] = never;
      }
    };
    mask(0, 0, 68);  // the first tile of keys is masked as a whole
    mask(1, 5, 70);
    mask(2, 0, std::isinf(never) ? 69 : 70);  // of none at all, infinite masks make NaN
    Case alone = x;
    alone.k = x.k.slice(0, 5);
    alone.v = x.v.slice(0, 5);
    alone.bias = Tensor({2, 3, 5});
    for (int64_t i = 0; i < 30; ++i) alone.bias.data<float>()[i] = x.bias.data<float>()[i / 5 * 70 + i % 5];
    for (const Way& way : kWays) {
      CAPTURE(name_of(way.products));
      CHECK(difference(x, way) == "");
      const Tensor all = on_device(way.variant, x, way.products), few = on_device(way.variant, alone, way.products);
      CHECK(mismatch(all.slice(1, 2), few.slice(1, 2), {1e-6, 1e-6}) == "");
    }
  }
}

TEST_CASE("large products do not overflow the softmax") {
  Case x = make_case(5, 40, 1, 32, false);
  x.q = full({5, 32}, 100);
  x.k = field("k", {40, 32}, 10);
  for (size_t way : {0, 1}) CHECK(difference(x, kWays[way]) == "");
  for (DType products : {DType::f16, DType::bf16}) {
    // Weights are near 0 or 1 there and jump with a rounding; what must hold is that a mean of values comes out.
    const Tensor y = on_device(AttentionVariant::fused, x, products);
    for (float value : values_of(y)) CHECK(std::abs(value) <= 1.01f);
  }
}

TEST_CASE("a query's attention on the device does not depend on the other queries") {
  const Case x = make_case(70, 40, 2, 24, false);
  for (const Way& way : kWays) {
    const Tensor all = on_device(way.variant, x, way.products);
    for (int64_t row : {0, 3, 15, 16, 64, 69}) {
      Case one = x;
      one.q = x.q.slice(row, row + 1);
      CHECK(mismatch(on_device(way.variant, one, way.products), all.slice(row, row + 1), {}) == "");
    }
  }
}

TEST_CASE("segments of one call have the bits of each by itself, whatever form their bias takes") {
  const int64_t heads = 2, width = 32, C = heads * width;
  const auto there = [](const Tensor& x) { return to_compute_device(x); };
  for (Precision precision : {Precision::exact, Precision::fast}) {
    const DeviceContext device(precision);
    const Tensor q = there(field("q", {70, C}, 2)), k = there(field("k", {90, C}, 2)),
                 v = there(field("v", {90, C}, 1));
    // Of different lengths, one of them without queries, each with a bias of its own.
    const Segments uneven{{0, 3, 3, 68, 70}, {0, 17, 20, 85, 90}};
    const Tensor biases = there(field("bias", {heads * (3 * 17 + 65 * 65 + 2 * 5)}, 3));
    for (const Tensor& bias : {Tensor(), biases}) {
      const Tensor all = to_host(attention(q, k, v, heads, uneven, bias));
      int64_t from = 0;
      for (size_t i : {0, 2, 3}) {
        const int64_t first = uneven.queries[i], last = uneven.queries[i + 1];
        const int64_t key = uneven.keys[i], end = uneven.keys[i + 1], size = heads * (last - first) * (end - key);
        const Tensor own =
            bias.empty() ? bias : bias.slice(from, from + size).reshape({heads, last - first, end - key});
        const Tensor one = attention(q.slice(first, last), k.slice(key, end), v.slice(key, end), heads, own);
        CHECK(mismatch(to_host(one), all.slice(first, last), {}) == "");
        from += size;
      }
    }
    // Windows of equal length that share a bias.
    const Segments windows = equal_segments(5, 14, 18);
    const Tensor shared = there(field("shared", {heads, 14, 18}, 3));
    const Tensor all = to_host(attention(q, k, v, heads, windows, shared));
    for (int64_t i = 0; i < 5; ++i) {
      const Tensor one = attention(q.slice(14 * i, 14 * i + 14), k.slice(18 * i, 18 * i + 18),
                                   v.slice(18 * i, 18 * i + 18), heads, shared);
      CHECK(mismatch(to_host(one), all.slice(14 * i, 14 * i + 14), {}) == "");
    }
  }
}

TEST_CASE("windows with regions agree with the CPU, and have the bits of each by itself") {
  const auto there = [](const Tensor& x) { return to_compute_device(x); };
  struct Size {
    int64_t count, tokens, heads, width;
  };
  for (const auto& [precision, half, bound] : {std::tuple{Precision::exact, DType::f16, 1e-5},
                                               {Precision::fast, DType::f16, 2e-3},
                                               {Precision::fast, DType::bf16, 1.5e-2}}) {
    for (const Size& size : {Size{3, 49, 2, 16}, {2, 100, 1, 24}, {2, 130, 2, 7}, {1, 70, 1, 64}}) {
      CAPTURE(size.tokens);
      CAPTURE(name_of(half));
      const int64_t rows = size.count * size.tokens, C = size.heads * size.width;
      const Tensor q = field("q", {rows, C}, 2), k = field("k", {rows, C}, 2), v = field("v", {rows, C}, 1);
      const Tensor bias = field("bias", {size.heads, size.tokens, size.tokens}, 3);
      Segments windows = equal_segments(size.count, size.tokens, size.tokens);
      for (int64_t row = 0; row < rows; ++row) windows.regions.push_back(uint8_t(row / 5 % 3));
      const Tensor want = attention(q, k, v, size.heads, windows, bias);
      cuda::DeviceOptions options;
      options.half = half;
      const DeviceContext device(precision, options);
      const Tensor y = to_host(attention(there(q), there(k), there(v), size.heads, windows, there(bias)));
      CHECK(mismatch(y, want, {0, bound}) == "");
      for (int64_t i = 0; i < size.count; ++i) {
        const int64_t first = i * size.tokens, last = first + size.tokens;
        Segments one = equal_segments(1, size.tokens, size.tokens);
        one.regions.assign(windows.regions.begin() + first, windows.regions.begin() + last);
        const Tensor alone = attention(there(q.slice(first, last)), there(k.slice(first, last)),
                                       there(v.slice(first, last)), size.heads, one, there(bias));
        CHECK(mismatch(to_host(alone), y.slice(first, last), {}) == "");
      }
    }
  }
}

TEST_CASE("the bias inside texts is that of the CPU to the bit, with relative positions and of masks alone") {
  const DeviceContext device(Precision::exact);
  const std::vector<int64_t> first = {0, 5, 6, 9};
  const std::vector<uint8_t> attended = {1, 1, 1, 0, 0, 1, 1, 0, 1};
  const std::vector<int64_t> buckets = {3, 3, 2, 1, 0, 4, 5, 6, 6};  // of distances -4 to 4
  for (const Tensor& table : {field("table", {7, 3}, 1), Tensor({0, 3})}) {
    const std::vector<int64_t> used = table.shape[0] > 0 ? buckets : std::vector<int64_t>();
    const Tensor want = attention_bias(table, used, first, attended);
    REQUIRE(want.shape == Shape({3 * (25 + 1 + 9)}));
    CHECK(mismatch(to_host(attention_bias(to_compute_device(table), used, first, attended)), want, {}) == "");
  }
}

TEST_CASE("the variants of attention have names, and say what they cannot do") {
  for (AttentionVariant variant :
       {AttentionVariant::automatic, AttentionVariant::plain, AttentionVariant::tiled, AttentionVariant::fused}) {
    CHECK(cuda::parse_attention_variant(cuda::name_of(variant)) == variant);
  }
  CHECK_THROWS_WITH_AS(cuda::parse_attention_variant("quick"),
                       "unknown attention variant 'quick'; it is one of automatic, plain, tiled, fused", Error);
  const cuda::Stream stream = device_stream();
  cuda::Attention sizes{};
  sizes.queries = sizes.tokens = 2;
  sizes.channels = 128;
  sizes.heads = 1;
  CHECK_THROWS_WITH_AS(cuda::attention(stream, AttentionVariant::fused, sizes),
                       "attention by fused: products are taken in f32, it needs f16 or bf16", Error);
  sizes.products = DType::f16;
  CHECK(cuda::attention_refusal(AttentionVariant::fused, sizes, stream.limits) ==
        "heads are 128 channels wide, it takes up to 96");
  CHECK(cuda::attention_refusal(AttentionVariant::plain, sizes, stream.limits) == "");
  CHECK(cuda::attention_refusal(AttentionVariant::automatic, sizes, stream.limits) == "");
  CHECK(cuda::attention_refusal(AttentionVariant::tiled, sizes, stream.limits) == "");
  sizes.channels = 129;
  CHECK(cuda::attention_refusal(AttentionVariant::tiled, sizes, stream.limits) ==
        "heads are 129 channels wide, it takes up to 128");
  sizes.tokens = int64_t(1) << 20;
  CHECK(cuda::attention_refusal(AttentionVariant::plain, sizes, stream.limits).find("1048576 keys need") == 0);
}
