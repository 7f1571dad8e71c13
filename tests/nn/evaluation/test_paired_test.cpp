// Wilcoxon's signed-rank test against values reckoned by hand, and intervals by the bootstrap.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sat/nn/evaluation/paired_test.h"
#include "sat/tensor/error.h"

using namespace sat;
using doctest::Approx;

TEST_CASE("all of five differences on one side: two of 32 signs are as extreme") {
  const PairedTest test = paired_test({0.1, 0.2, 0.3, 0.4, 0.5});
  CHECK(test.rank_sum == 15);
  CHECK(test.exact);
  CHECK(*test.p == 2.0 / 32);
  CHECK(test.mean == Approx(0.3));
}

TEST_CASE("signs are counted by hand: ranks 1 to 4 with the 2nd negative") {
  // Sums of positive ranks at least 8: {1,3,4}, {2,3,4} = 9, {1,2,3,4} = 10 and no other: 3 of 16.
  const PairedTest test = paired_test({1, -2, 3, 4});
  CHECK(test.rank_sum == 8);
  CHECK(*test.p == 2 * 3.0 / 16);
}

TEST_CASE("equal sizes share ranks, and pairs without a difference do not count") {
  // Sizes 1, 1, 2 have ranks 1.5, 1.5, 3; positive are 1.5 and 3. Sums at least 4.5: {1.5, 3} twice, all: 3 of 8.
  const PairedTest test = paired_test({1, -1, 2, 0, 0});
  CHECK(test.pairs == 5);
  CHECK(test.equal == 2);
  CHECK(test.rank_sum == 4.5);
  CHECK(*test.p == 2 * 3.0 / 8);
  CHECK(test.mean == Approx(0.4));
}

TEST_CASE("no difference at all has no p, and many pairs have the normal approximation's") {
  CHECK(!paired_test({0, 0, 0}).p);
  CHECK(!paired_test({}).p);
  CHECK(!paired_test({1.0}).interval);
  std::vector<double> differences;
  for (int i = 1; i <= 120; ++i) differences.push_back(i % 3 == 0 ? -i : i);
  const PairedTest test = paired_test(differences);
  CHECK(!test.exact);
  // Positive ranks: 7260 - (3 + 6 + ... + 120) = 4800; z = (4800 - 3630) / sqrt(120 * 121 * 241 / 24).
  CHECK(test.rank_sum == 4800);
  CHECK(*test.p == Approx(std::erfc(1170 / std::sqrt(120.0 * 121 * 241 / 24) / std::sqrt(2.0))).epsilon(1e-12));
}

TEST_CASE("exact and approximate p meet where one takes over from the other") {
  std::vector<double> differences;
  for (int i = 1; i <= 100; ++i) differences.push_back(i % 3 == 0 ? -i : i);
  const double exact = *paired_test(differences).p;
  differences.push_back(0);
  CHECK(*paired_test(differences).p == exact);
  differences.back() = -101;
  const PairedTest beyond = paired_test(differences);
  CHECK(!beyond.exact);
  CHECK(*beyond.p == Approx(exact).epsilon(1.0));
}

TEST_CASE("the interval of a mean holds it and follows the seed alone") {
  const std::vector<double> differences{0.1, 0.3, -0.2, 0.5, 0.25, 0.05, 0.4, -0.1};
  PairedOptions options;
  options.seed = 5;
  const PairedTest a = paired_test(differences, options), b = paired_test(differences, options);
  CHECK(a.interval->low == b.interval->low);
  CHECK(a.interval->low < a.mean);
  CHECK(a.interval->high > a.mean);
  options.seed = 6;
  CHECK(paired_test(differences, options).interval->low != a.interval->low);
  CHECK_THROWS_AS(paired_test({std::numeric_limits<double>::quiet_NaN()}), Error);
}

TEST_CASE("Holm's correction multiplies by what is left, and never falls") {
  CHECK(holm({0.03, 0.01, 0.02}) == std::vector<double>{0.04, 0.03, 0.04});
  CHECK(holm({0.9, 0.5}) == std::vector<double>{1, 1});
  CHECK(holm({}).empty());
}
