// Dense layers, attention and table look-up: the claims of ops.h, on every CPU level of this machine.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

double gelu_defined(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

Tensor linear_defined(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation act) {
  const int64_t rows = x.shape[0], in = x.shape[1], out = weight.shape[0];
  const Tensor y({rows, out});
  for (int64_t at = 0; at < y.numel(); ++at) {
    double sum = double(bias.data<float>()[at % out]);
    for (int64_t i = 0; i < in; ++i) {
      sum += double(x.data<float>()[at / out * in + i]) * double(weight.data<float>()[at % out * in + i]);
    }
    if (act == Activation::relu) sum = std::max(sum, 0.0);
    if (act == Activation::gelu) sum = gelu_defined(sum);
    y.data<float>()[at] = float(sum);
  }
  return y;
}

Tensor attention_defined(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias) {
  const int64_t N = q.shape[0], T = k.shape[0], C = q.shape[1], width = C / heads;
  const Tensor y({N, C});
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t h = 0; h < heads; ++h) {
      std::vector<double> weights;
      double largest = -INFINITY, total = 0;
      for (int64_t t = 0; t < T; ++t) {
        double dot = 0;
        for (int64_t c = h * width; c < (h + 1) * width; ++c) {
          dot += double(q.data<float>()[n * C + c]) * double(k.data<float>()[t * C + c]);
        }
        dot /= std::sqrt(double(width));
        if (!bias.empty()) dot += double(bias.data<float>()[(h * N + n) * T + t]);
        weights.push_back(dot);
        largest = std::max(largest, dot);
      }
      for (double& weight : weights) total += weight = std::exp(weight - largest);
      for (int64_t c = h * width; c < (h + 1) * width; ++c) {
        double sum = 0;
        for (int64_t t = 0; t < T; ++t) sum += weights[size_t(t)] * double(v.data<float>()[t * C + c]);
        y.data<float>()[n * C + c] = float(sum / total);
      }
    }
  }
  return y;
}

}  // namespace

TEST_CASE("a dense layer follows its definition at awkward sizes") {
  for (int64_t rows : {1, 5, 6, 7, 33, 200}) {
    for (const auto& sizes : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {96, 64}, {300, 130}, {513, 31}}) {
      const int64_t in = sizes.first, out = sizes.second;
      const Tensor x = field("x", {rows, in}, 1), weight = field("weight", {out, in}, 2 / std::sqrt(double(in)));
      const Tensor bias = field("bias", {out}, 1);
      for (Activation act : {Activation::none, Activation::relu, Activation::gelu}) {
        const Tensor want = linear_defined(x, weight, bias, act);
        for (CpuLevel level : levels()) {
          CAPTURE(name_of(level));
          CAPTURE(rows);
          CAPTURE(in);
          CAPTURE(out);
          const Tensor got = computed(level, 2, [&] { return linear(x, pack_linear(weight), bias, act); });
          CHECK(mismatch(got, want, {2e-6, 2e-6}) == "");
        }
      }
    }
  }
}

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
      const double error = std::abs(double(y.data<float>()[i]) - gelu_defined(double(values[i])));
      worst = std::max(worst, error / std::max(1.0, std::abs(double(values[i]))));
    }
    CHECK(worst < 2e-7);
  }
}

TEST_CASE("a row's result does not depend on the other rows, nor any bit on the threads") {
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
  CHECK(difference_by_threads([&] { return linear(x, pack_linear(weight), bias, Activation::gelu); }) == "");
}

TEST_CASE("attention follows its definition with and without a bias") {
  for (const auto& sizes :
       {std::array<int64_t, 4>{1, 1, 1, 1}, {7, 31, 2, 3}, {33, 17, 3, 16}, {3, 243, 2, 96}, {200, 100, 1, 24}}) {
    const int64_t N = sizes[0], T = sizes[1], heads = sizes[2], width = sizes[3];
    const int64_t C = heads * width;
    const Tensor q = field("q", {N, C}, 2), k = field("k", {T, C}, 2), v = field("v", {T, C}, 1);
    for (const Tensor& bias : {Tensor(), field("bias", {heads, N, T}, 3)}) {
      const Tensor want = attention_defined(q, k, v, heads, bias);
      const auto compute = [&] { return attention(q, k, v, heads, bias); };
      CAPTURE(N);
      CAPTURE(T);
      for (CpuLevel level : levels()) CHECK(mismatch(computed(level, 2, compute), want, {2e-6, 2e-6}) == "");
      CHECK(difference_by_threads(compute) == "");
    }
  }
}

TEST_CASE("softmax survives large scores, and a masked token weighs nothing") {
  const Tensor q = full({2, 4}, 100), k = field("k", {40, 4}, 1000), v = field("v", {40, 4}, 1);
  const Tensor want = attention_defined(q, k, v, 1, {});
  Tensor bias = zeros({1, 2, 40});
  for (int64_t t = 5; t < 40; ++t) {
    bias.data<float>()[t] = bias.data<float>()[40 + t] = -std::numeric_limits<float>::infinity();
  }
  Tensor short_k = k.slice(0, 5), short_v = v.slice(0, 5);
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

TEST_CASE("rows of a table are copied, and an id outside it is refused") {
  const Tensor table = from_values({3, 2}, {1, 2, 3, 4, 5, 6});
  CHECK(mismatch(gather_rows(table, from_ids({2}, {2, 0})), from_values({2, 2}, {5, 6, 1, 2}), {}) == "");
  CHECK_THROWS_WITH_AS(gather_rows(table, from_ids({1}, {3})), "gather_rows: id 3 in a table of 3 rows", Error);
  CHECK_THROWS_AS(gather_rows(table, from_ids({1}, {-1})), Error);
}

TEST_CASE("dense layers and attention refuse what does not fit, with the numbers") {
  const PackedMatrix weight = pack_linear(zeros({4, 3}));
  CHECK_THROWS_WITH_AS(linear(zeros({2, 4}), weight, {}), "linear: x has shape [2, 4], needs [..., 3]", Error);
  CHECK_THROWS_WITH_AS(linear(zeros({2, 3}), weight, zeros({3})), "linear: bias has shape [3], needs [4]", Error);
  CHECK_THROWS_AS(pack_linear(zeros({4, 3, 1})), Error);
  const Tensor q = zeros({2, 6}), k = zeros({5, 6});
  CHECK_THROWS_AS(attention(q, k, zeros({4, 6}), 2), Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 4), "attention: 6 channels do not divide into 4 heads", Error);
  CHECK_THROWS_WITH_AS(attention(q, k, k, 2, zeros({2, 2, 4})), "attention: bias has shape [2, 2, 4], needs [2, 2, 5]",
                       Error);
}
