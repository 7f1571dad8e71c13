// Scores of classifiers: against values by hand and scikit-learn's, with intervals that do not depend on threads.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sat/io/words/json.h"
#include "sat/nn/evaluation/evaluation.h"
#include "sat/nn/evaluation/metrics.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

namespace {

RankedRows ranked(const std::vector<float>& scores, const std::vector<int8_t>& states) {
  return {scores.data(), 1, states.data(), 1, int64_t(scores.size())};
}

Json recorded() {
  const std::string path = golden_path("probe/sklearn.json");
  return Json::parse(read_text(path), path);
}

std::vector<int8_t> states_of(const Json& json) {
  const std::vector<int64_t> numbers = json.integers();
  return {numbers.begin(), numbers.end()};
}

/// Random labels and scores that lean towards them; a tenth unknown.
struct Random {
  Tensor scores;
  Targets targets;
  Random(int64_t rows, int64_t labels, bool exclusive = false)
      : scores(field("scores", {rows, labels}, 0.5, 0.5)), targets{labels, exclusive, {}} {
    const Tensor u = field("states", {rows, labels}, 0.5, 0.5);
    for (int64_t i = 0; i < u.numel(); ++i) {
      const float x = u.data<float>()[i];
      targets.states.push_back(exclusive  ? (i % labels == (i / labels * 7) % labels)
                               : x < 0.1F ? -1
                               : x < 0.4F ? 1
                                          : 0);
      if (targets.states.back() == 1) scores.data<float>()[i] = std::sqrt(scores.data<float>()[i]);
    }
  }
};

bool same(const Score& a, const Score& b) {
  return a.value == b.value && a.interval.has_value() == b.interval.has_value() &&
         (!a.interval || (a.interval->low == b.interval->low && a.interval->high == b.interval->high));
}

}  // namespace

TEST_CASE("areas by hand: ties count half, and unknown rows not at all") {
  CHECK(*ranked({0.1F, 0.2F, 0.3F}, {0, 1, 1}).auc() == 1);
  CHECK(*ranked({0.3F, 0.2F, 0.1F}, {0, 1, 1}).auc() == 0);
  CHECK(*ranked({0.5F, 0.5F, 0.5F}, {0, 1, 1}).auc() == 0.5);
  CHECK(*ranked({1, 2, 2, 3}, {0, 0, 1, 1}).auc() == 3.5 / 4);
  CHECK(*ranked({1, 2, 9, 2, 3}, {0, 0, -1, 1, 1}).auc() == 3.5 / 4);
  CHECK(*ranked({1, 2, 3, 4}, {1, 0, 1, 0}).average_precision() == doctest::Approx((0.5 + 0.5) / 2));
  CHECK(*ranked({2, 2, 1}, {1, 0, 1}).average_precision() == doctest::Approx((0.5 + 2.0 / 3) / 2));
}

TEST_CASE("where only one answer is there nothing is guessed") {
  CHECK(!ranked({1, 2}, {1, 1}).auc());
  CHECK(!ranked({1, 2}, {0, 0}).auc());
  CHECK(!ranked({1, 2}, {0, 0}).average_precision());
  CHECK(!ranked({1, 2}, {-1, -1}).auc());
  CHECK(*ranked({1, 2}, {1, 1}).average_precision() == 1);
  CHECK(!Decisions{}.accuracy());
  CHECK(!Decisions{0, 3, 0, 2}.f1());
  CHECK(!best_threshold(ranked({1, 2}, {1, 1})));
}

TEST_CASE("scores with and without ties are scikit-learn's") {
  const Json json = recorded();
  const std::vector<double> values = json["ties"]["scores"].numbers();
  const RankedRows ties = ranked({values.begin(), values.end()}, states_of(json["labels"][0]));
  CHECK(*ties.auc() == doctest::Approx(json["ties"]["auc"].number()).epsilon(1e-12));
  CHECK(*ties.average_precision() == doctest::Approx(json["ties"]["average_precision"].number()).epsilon(1e-12));
  const Tensor x = field("scores", {json["rows"].integer()}, 1);
  const std::vector<int8_t> other = states_of(json["labels"][1]);
  const RankedRows fine(x.data<float>(), 1, other.data(), 1, x.numel());
  CHECK(*fine.auc() == doctest::Approx(json["fine"]["auc"].number()).epsilon(1e-12));
  CHECK(*fine.average_precision() == doctest::Approx(json["fine"]["average_precision"].number()).epsilon(1e-12));

  const Targets targets{1, false, states_of(json["labels"][0])};
  const Tensor scores = from_values({json["rows"].integer(), 1}, {values.begin(), values.end()});
  const Evaluation found = evaluate(scores, targets, {1}, {0, 0.95, 0, {}});
  CHECK(*found.labels[0].f1.value == doctest::Approx(json["ties"]["f1"].number()).epsilon(1e-12));
  CHECK(*found.labels[0].accuracy.value == doctest::Approx(json["ties"]["accuracy"].number()).epsilon(1e-12));
}

TEST_CASE("the curves' corners go from nothing to everything, and enclose the area") {
  const RankedRows rows = ranked({1, 2, 2, 3, 0}, {0, 0, 1, 1, 1});
  const auto corners = rows.corners();
  REQUIRE(corners.size() == 5);
  CHECK(corners.front().hits == 0);
  CHECK(corners.back().hits == 3);
  CHECK(corners.back().false_alarms == 2);
  double area = 0;
  for (size_t i = 1; i < corners.size(); ++i) {
    area += double(corners[i].false_alarms - corners[i - 1].false_alarms) *
            double(corners[i].hits + corners[i - 1].hits) / 2;
  }
  CHECK(area / 6 == doctest::Approx(*rows.auc()));
}

TEST_CASE("the best threshold lies between the scores that it parts, where F1 is highest") {
  CHECK(*best_threshold(ranked({0.1F, 0.2F, 0.6F, 0.8F}, {0, 0, 1, 1})) == doctest::Approx(0.4));
  CHECK(*best_threshold(ranked({0.2F, 0.4F, 0.6F, 0.8F}, {0, 1, 0, 1})) == doctest::Approx(0.3));
  CHECK(*best_threshold(ranked({0.3F, 0.3F}, {0, 1})) == doctest::Approx(0.3));
}

TEST_CASE("a row that is counted twice is two rows") {
  const Random once(40, 1);
  std::vector<int32_t> counts(40);
  std::vector<float> scores;
  std::vector<int8_t> states;
  for (int64_t i = 0; i < 40; ++i) {
    counts[size_t(i)] = int32_t(i % 3);
    for (int64_t copy = 0; copy < i % 3; ++copy) {
      scores.push_back(once.scores.data<float>()[i]);
      states.push_back(once.targets.states[size_t(i)]);
    }
  }
  const RankedRows a(once.scores.data<float>(), 1, once.targets.states.data(), 1, 40), b = ranked(scores, states);
  CHECK(*a.auc(counts.data()) == *b.auc());
  CHECK(*a.average_precision(counts.data()) == doctest::Approx(*b.average_precision()).epsilon(1e-14));
}

TEST_CASE("intervals hold the value, narrow with more rows, and do not depend on the number of threads") {
  const auto evaluated = [](int64_t rows, int threads, bool exclusive, uint64_t seed = 3) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    const UseContext use(context);
    const Random random(rows, 3, exclusive);
    BootstrapOptions bootstrap;
    bootstrap.samples = 200;
    bootstrap.seed = seed;
    return evaluate(random.scores, random.targets, {0.5, 0.5, 0.5}, bootstrap);
  };
  for (const bool exclusive : {false, true}) {
    const Evaluation one = evaluated(300, 1, exclusive), many = evaluated(300, 7, exclusive);
    for (size_t k = 0; k <= 3; ++k) {
      const LabelScores &a = k < 3 ? one.labels[k] : one.mean, &b = k < 3 ? many.labels[k] : many.mean;
      CHECK(same(a.auc, b.auc));
      CHECK(same(a.auprc, b.auprc));
      CHECK(same(a.accuracy, b.accuracy));
      CHECK(same(a.f1, b.f1));
      REQUIRE(a.auc.interval);
      CHECK(a.auc.interval->low < *a.auc.value);
      CHECK(a.auc.interval->high > *a.auc.value);
    }
    const Interval narrow = *evaluated(3000, 2, exclusive).mean.auc.interval, wide = *one.mean.auc.interval;
    CHECK(narrow.high - narrow.low < 0.5 * (wide.high - wide.low));
    CHECK(evaluated(300, 2, exclusive, 4).mean.auc.interval->low != wide.low);
  }
}

TEST_CASE("rows of one group are drawn together, which widens intervals of rows that are alike") {
  Random random(60, 1);
  Tensor tenfold({600, 1});
  Targets targets{1, false, {}};
  BootstrapOptions alone, together;
  for (int64_t i = 0; i < 600; ++i) {
    tenfold.data<float>()[i] = random.scores.data<float>()[i / 10];
    targets.states.push_back(random.targets.states[size_t(i / 10)]);
    together.groups.push_back(i / 10);
  }
  const Interval a = *evaluate(tenfold, targets, {0.5}, alone).mean.auc.interval,
                 b = *evaluate(tenfold, targets, {0.5}, together).mean.auc.interval,
                 c = *evaluate(random.scores, random.targets, {0.5}, {}).mean.auc.interval;
  CHECK(b.high - b.low > 2 * (a.high - a.low));
  CHECK(b.low == doctest::Approx(c.low).epsilon(1e-12));
}

TEST_CASE("a label with one answer has no area and is left out of the mean") {
  Random random(50, 2);
  for (int64_t i = 0; i < 50; ++i) random.targets.states[size_t(2 * i + 1)] = 0;
  const Evaluation found = evaluate(random.scores, random.targets, {0.5, 0.5}, {100, 0.95, 0, {}});
  CHECK(!found.labels[1].auc.value);
  CHECK(!found.labels[1].f1.interval);
  CHECK(found.labels[1].accuracy.value);
  CHECK(*found.mean.auc.value == *found.labels[0].auc.value);
}

TEST_CASE("of classes the mean accuracy is that of the most likely class") {
  const Tensor p = from_values({4, 3}, {0.5F, 0.3F, 0.2F, 0.1F, 0.2F, 0.7F, 0.4F, 0.4F, 0.2F, 0.2F, 0.2F, 0.6F});
  const Targets targets{3, true, {1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1}};
  const Evaluation found = evaluate(p, targets, {0.5, 0.5, 0.5}, {0, 0.95, 0, {}});
  CHECK(*found.mean.accuracy.value == 0.75);
  CHECK(*found.labels[2].f1.value == doctest::Approx(2.0 / 3));
}
