// Dense layers, attention, sums and layer norms, beside the table of ops: whole ranges, what a row does not depend on,
// and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("gelu is the exact form over the whole range") {
  const PackedMatrix identity = pack_linear(full({1, 1}, 1));
  std::vector<float> values = {-2, -1, -0.5f, 0, 0.5f, 1, 2};
  const std::vector<double> recorded = {-0.0455, -0.1587, -0.1543, 0, 0.3457, 0.8413, 1.9545};
  for (float x = -30; x < 30; x += 0.0037f) values.push_back(x);
  for (float x = 1e-30f; x < 1; x *= 3) values.insert(values.end(), {x, -x});
  const Tensor x = from_values({int64_t(values.size()), 1}, values);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const Tensor y = computed(level, 1, [&] { return linear(x, identity, {}, Activation::gelu); });
    for (size_t i = 0; i < recorded.size(); ++i) {
      CHECK(y.data<float>()[i] == doctest::Approx(recorded[i]).epsilon(1e-9).scale(1e5));
    }
    double worst = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto value = double(values[i]);
      const double error = std::abs(double(y.data<float>()[i]) - 0.5 * value * std::erfc(-value / std::sqrt(2.0)));
      worst = std::max(worst, error / std::max(1.0, std::abs(value)));
    }
    CHECK(worst < 2e-7);
  }
}

TEST_CASE("a row's result does not depend on the other rows") {
  const Tensor x = field("x", {200, 70}, 1), weight = field("weight", {90, 70}, 1), bias = field("bias", {90}, 1);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const PackedMatrix packed = pack_linear(weight);
    const Tensor all = computed(level, 1, [&] { return linear(x, packed, bias, Activation::gelu); });
    for (int64_t row : {0, 3, 5, 6, 191, 192, 199}) {
      const Tensor alone =
          computed(level, 1, [&] { return linear(x.slice(row, row + 1), packed, bias, Activation::gelu); });
      CHECK(same_bits(alone, all.slice(row, row + 1)));
    }
  }
}

TEST_CASE("where rows are combined with each other, a matrix still depends on itself alone") {
  const Tensor weight = field("weight", {192, 128}, 0.2), x = field("x", {3, 345, 128}, 1);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const auto run = [&](const Tensor& matrices, int threads) {
      return computed(level, threads, [&] { return linear(matrices, pack_linear(weight, {345}), {}); });
    };
    const Tensor all = run(x, 1);
    CHECK(same_bits(run(x, 3), all));
    CHECK(same_bits(run(x.slice(1, 2), 1).select(0), all.select(1)));
  }
}

TEST_CASE("softmax survives large scores, and a masked token weighs nothing") {
  const Tensor q = full({2, 4}, 100), k = field("k", {40, 4}, 1000), v = field("v", {40, 4}, 1);
  Tensor want({2, 4});  // of scores this large, the largest takes all
  int64_t best = 0;
  const auto score = [&](int64_t t) {
    double sum = 0;
    for (int64_t c = 0; c < 4; ++c) sum += 100 * double(k.data<float>()[t * 4 + c]);
    return sum / 2;
  };
  for (int64_t t = 1; t < 40; ++t) best = score(t) > score(best) ? t : best;
  for (int64_t i = 0; i < 8; ++i) want.data<float>()[i] = v.data<float>()[best * 4 + i % 4];
  Tensor bias = zeros({1, 2, 40});
  for (int64_t t = 5; t < 40; ++t) {
    bias.data<float>()[t] = bias.data<float>()[40 + t] = -std::numeric_limits<float>::infinity();
  }
  const Tensor short_k = k.slice(0, 5), short_v = v.slice(0, 5);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    CHECK(mismatch(computed(level, 1, [&] { return attention(q, k, v, 1); }), want, {1e-5, 1e-5}) == "");
    const Tensor masked = computed(level, 1, [&] { return attention(q, k, v, 1, bias); });
    const Tensor alone = computed(level, 1, [&] { return attention(q, short_k, short_v, 1); });
    CHECK(mismatch(masked, alone, {1e-6, 0}) == "");
  }
}

TEST_CASE("a query's attention does not depend on the other queries") {
  const Tensor q = field("q", {250, 48}, 1), k = field("k", {50, 48}, 1), v = field("v", {50, 48}, 1);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    const Tensor all = computed(level, 1, [&] { return attention(q, k, v, 3); });
    for (int64_t row : {0, 1, 191, 192, 249}) {
      const Tensor alone = computed(level, 1, [&] { return attention(q.slice(row, row + 1), k, v, 3); });
      CHECK(same_bits(alone, all.slice(row, row + 1)));
    }
  }
}

TEST_CASE("attention over segments is attention segment by segment, bit for bit, with any bias") {
  constexpr int64_t kHeads = 3, kChannels = 24;
  const Segments uneven{{0, 1, 1, 34, 47}, {0, 3, 4, 21, 64}}, equal = equal_segments(4, 9, 19);
  for (const Segments& segments : {uneven, equal}) {
    const bool is_equal = segments.queries == equal.queries;
    const Tensor q = field("q", {segments.queries.back(), kChannels}, 1);
    const Tensor k = field("k", {segments.keys.back(), kChannels}, 1),
                 v = field("v", {segments.keys.back(), kChannels}, 1);
    int64_t elements = 0;
    std::vector<int64_t> places;
    for (size_t s = 0; s + 1 < segments.queries.size(); ++s) {
      places.push_back(elements);
      elements += kHeads * (segments.queries[s + 1] - segments.queries[s]) * (segments.keys[s + 1] - segments.keys[s]);
    }
    const Tensor one_a_segment = field("bias", {elements}, 2), shared = field("shared", {kHeads, 9, 19}, 2);
    for (const Tensor& bias : {Tensor(), one_a_segment, shared}) {
      if (bias.shape.rank() == 3 && !is_equal) continue;
      CAPTURE(bias.shape);
      for (CpuLevel level : levels()) {
        CAPTURE(name_of(level));
        for (int threads : {1, 3}) {
          const Tensor all = computed(level, threads, [&] { return attention(q, k, v, kHeads, segments, bias); });
          for (size_t s = 0; s + 1 < segments.queries.size(); ++s) {
            const int64_t first = segments.queries[s], last = segments.queries[s + 1];
            if (first == last) continue;
            const int64_t key = segments.keys[s], end = segments.keys[s + 1],
                          size = kHeads * (last - first) * (end - key);
            Tensor own = bias;
            if (bias.shape.rank() == 1 && !bias.empty()) {
              own = bias.slice(places[s], places[s] + size).reshape({kHeads, last - first, end - key});
            }
            const auto alone = [&] {
              return attention(q.slice(first, last), k.slice(key, end), v.slice(key, end), kHeads, own);
            };
            CHECK(same_bits(computed(level, 1, alone), all.slice(first, last)));
          }
        }
      }
    }
  }
}

TEST_CASE("a sum takes equal shapes or the shape of the trailing axes") {
  const Tensor a = from_values({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(mismatch(add(a, a), from_values({2, 1, 3}, {2, 4, 6, 8, 10, 12}), {}) == "");
  CHECK(mismatch(add(a, from_values({3}, {10, 20, 30})), from_values({2, 1, 3}, {11, 22, 33, 14, 25, 36}), {}) == "");
  CHECK(mismatch(add(a, from_values({1, 3}, {1, 0, -1})), from_values({2, 1, 3}, {2, 2, 2, 5, 5, 5}), {}) == "");
  CHECK_THROWS_WITH_AS(add(a, zeros({2, 1})), "add: shapes [2, 1, 3] and [2, 1] do not fit", Error);
  CHECK_THROWS_AS(add(zeros({3}), a), Error);
}

TEST_CASE("dense layers, attention, tables and norms refuse what does not fit, with the numbers") {
  const PackedMatrix weight = pack_linear(zeros({4, 3}));
  CHECK_THROWS_WITH_AS(linear(zeros({2, 4}), weight, {}), "linear: x has shape [2, 4], needs [..., 3]", Error);
  CHECK_THROWS_WITH_AS(linear(zeros({2, 3}), weight, zeros({3})), "linear: bias has shape [3], needs [4]", Error);
  CHECK_THROWS_AS(pack_linear(zeros({4, 3, 1})), Error);
  CHECK_THROWS_WITH_AS(product_transposed(zeros({2, 3}), zeros({4, 2})), doctest::Contains("[2, 3] and [4, 2]"), Error);

  const Tensor q = zeros({2, 6}), k = zeros({5, 6});
  CHECK_THROWS_AS(attention(q, k, zeros({4, 6}), 2), Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 4), "attention: 6 channels do not divide into 4 heads", Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 2, zeros({2, 2, 4})), "attention: bias has shape [2, 2, 4], needs [2, 2, 5]",
                       Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 2, Segments{{0, 1}, {0, 5}}), doctest::Contains("do not run from 0 to 2"),
                       Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 2, Segments{{0, 1, 2}, {0, 5, 5}}), "attention: there are no keys", Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 2, Segments{{0, 1, 2}, {0, 2, 5}}, zeros({2, 1, 2})),
                       doctest::Contains("for segments of different sizes"), Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 2, Segments{{0, 1, 2}, {0, 2, 5}}, zeros({9})),
                       "attention: bias has shape [9], needs [10]", Error);
  CHECK_THROWS_WITH_AS(attention_bias(zeros({4, 2}), {0, 1, 4}, {0, 2}, {1, 1}), doctest::Contains("bucket 4"), Error);
  CHECK_THROWS_WITH_AS(attention_bias(zeros({4, 2}), {0, 1}, {0, 2}, {1, 1}), doctest::Contains("needs 3"), Error);

  const Tensor table = from_values({3, 2}, {1, 2, 3, 4, 5, 6});
  CHECK_THROWS_WITH_AS(gather_rows(table, {3}), "gather_rows: id 3 in a table of 3 rows", Error);
  CHECK_THROWS_AS(gather_rows(table, {-2}), Error);
  CHECK_THROWS_WITH_AS(mean_of_rows(table, {0, 2}, {1, 1, 1}), doctest::Contains("do not cover"), Error);
  CHECK_THROWS_WITH_AS(concat_channels({zeros({2, 1}), zeros({3, 1})}),
                       "concat_channels: shapes [2, 1] and [3, 1] do not fit", Error);
  CHECK_THROWS_AS(concat_channels({}), Error);
  Tensor rows = zeros({4, 2});
  CHECK_THROWS_WITH_AS(copy_rows(rows, 0, 2, table, 0, 3), doctest::Contains("to row 2 of [4, 2]"), Error);
  CHECK_THROWS_WITH_AS(copy_rows(rows, 0, 1, rows, 0, 3), doctest::Contains("move forwards alone"), Error);
  CHECK_THROWS_WITH_AS(copy_rows(rows, 2, 0, table, 0, 1), doctest::Contains("no axis 2"), Error);
  CHECK_THROWS_WITH_AS(zero_rows(rows, 1, 1, 3), doctest::Contains("rows [1, 3)"), Error);

  CHECK_THROWS_WITH_AS(layer_norm(zeros({2, 3}), zeros({2}), zeros({3}), 1e-5f), doctest::Contains("[2, 3], [2], [3]"),
                       Error);
}
