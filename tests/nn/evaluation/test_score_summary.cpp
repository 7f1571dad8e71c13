// Means of scores by the rules of spec l.3, and how sure they are.
#include <doctest/doctest.h>

#include "sat/nn/evaluation/segmentation/score_summary.h"
#include "sat/tensor/context.h"
#include "sat/tensor/error.h"
#include "tests/support/golden.h"

using namespace sat;
using doctest::Approx;

namespace {

ScoredStructure scored(const std::string& dataset, const std::string& unit, const std::string& structure,
                       const std::string& region, std::optional<double> score) {
  return {dataset, "ct", unit, structure, region, {score}};
}

/// Two data sets: liver in three cases of a and one of b, tumour in one of a, spleen in two of b.
std::vector<ScoredStructure> some() {
  return {scored("a", "1", "liver", "abdomen", 0.9),   scored("a", "2", "liver", "abdomen", 0.6),
          scored("a", "3", "liver", "abdomen", 0.6),   scored("b", "1", "liver", "abdomen", 0.3),
          scored("a", "2", "tumour", "abnormal", 0.2), scored("b", "1", "spleen", "abdomen", 0.8),
          scored("b", "2", "spleen", "abdomen", {})};
}

const double& mean_of(const ScoredGroup& group) { return *group.scores.at(0).mean; }

}  // namespace

TEST_CASE("classes are means over data sets, regions and all over classes, data sets over their classes") {
  const ScoreSummary summary = summarise(some(), 1, {0, 0.95, 0});
  REQUIRE(summary.classes.size() == 3);
  const ScoredClass &liver = summary.classes[0], &spleen = summary.classes[1], &tumour = summary.classes[2];
  CHECK(liver.structure == "liver");
  CHECK(liver.all.name == "ct_liver");
  REQUIRE(liver.datasets.size() == 2);
  CHECK(liver.datasets[0].name == "a(ct)");
  CHECK(mean_of(liver.datasets[0]) == Approx(0.7));
  CHECK(liver.datasets[0].scores[0].counted == 3);
  CHECK(mean_of(liver.all) == Approx(0.5));  // of 0.7 and 0.3
  CHECK(mean_of(spleen.all) == Approx(0.8));
  CHECK(spleen.datasets[0].scores[0].counted == 1);  // of two cases one has a score
  CHECK(spleen.datasets[0].units == 2);
  CHECK(mean_of(tumour.all) == Approx(0.2));
  REQUIRE(summary.regions.size() == 2);
  CHECK(summary.regions[0].name == "abdomen");
  CHECK(mean_of(summary.regions[0]) == Approx(0.65));
  CHECK(summary.regions[0].classes == 2);
  CHECK(summary.regions[0].units == 5);
  CHECK(mean_of(summary.regions[1]) == Approx(0.2));
  REQUIRE(summary.datasets.size() == 2);
  CHECK(mean_of(summary.datasets[0]) == Approx(0.45));  // of liver 0.7 and tumour 0.2, not of four rows
  CHECK(mean_of(summary.datasets[1]) == Approx(0.55));
  CHECK(mean_of(summary.overall) == Approx(0.5));
  CHECK(summary.overall.units == 5);
  CHECK(summary.overall.classes == 3);
}

TEST_CASE("a structure in another modality is another class, and its data set another") {
  std::vector<ScoredStructure> rows = some();
  rows.push_back({"a", "mri", "9", "liver", "abdomen", {0.1}});
  const ScoreSummary summary = summarise(rows, 1, {0, 0.95, 0});
  CHECK(summary.classes.size() == 4);
  CHECK(summary.datasets.size() == 3);
  CHECK(summary.datasets[1].name == "a(mri)");
}

TEST_CASE("intervals hold the mean, have the same bits for any threads, and are none without samples") {
  std::vector<ScoredStructure> rows;
  const std::vector<double> values = test::unit("scores", 80);
  for (int i = 0; i < 40; ++i) {
    for (int structure = 0; structure < 2; ++structure) {
      rows.push_back(scored("a", std::to_string(i), structure == 0 ? "liver" : "spleen", "abdomen",
                            values[size_t(2 * i + structure)]));
    }
  }
  const auto summarised = [&](int threads, uint64_t seed) {
    ContextOptions options;
    options.threads = threads;
    Context context(options);
    const UseContext use(context);
    return summarise(rows, 1, {200, 0.95, seed});
  };
  const MeanScore one = summarised(1, 7).overall.scores[0], many = summarised(5, 7).overall.scores[0];
  REQUIRE(one.interval);
  CHECK(one.interval->low == many.interval->low);
  CHECK(one.interval->high == many.interval->high);
  CHECK(one.interval->low < *one.mean);
  CHECK(one.interval->high > *one.mean);
  CHECK(summarised(1, 8).overall.scores[0].interval->low != one.interval->low);
  CHECK(!summarise(rows, 1, {0, 0.95, 0}).overall.scores[0].interval);
}

TEST_CASE("a mean of single cases has no interval, since no sample tells them apart") {
  const ScoreSummary summary = summarise(some(), 1);
  CHECK(!summary.classes[1].all.scores[0].interval);  // the spleen has one score
  CHECK(!summary.regions[1].scores[0].interval);
  CHECK(summary.classes[0].datasets[0].scores[0].interval);
  CHECK(!summary.classes[0].datasets[1].scores[0].interval);
  CHECK(summary.overall.scores[0].interval);
}

TEST_CASE("cases of one patient are drawn together, which widens intervals of cases that are alike") {
  std::vector<ScoredStructure> alone, together;
  const std::vector<double> values = test::unit("patients", 12);
  for (int i = 0; i < 120; ++i) {
    alone.push_back(scored("a", "case " + std::to_string(i), "liver", "", values[size_t(i / 10)]));
    together.push_back(scored("a", "patient " + std::to_string(i / 10), "liver", "", values[size_t(i / 10)]));
  }
  const Interval a = *summarise(alone, 1).overall.scores[0].interval,
                 b = *summarise(together, 1).overall.scores[0].interval;
  CHECK(b.high - b.low > 2 * (a.high - a.low));
}

TEST_CASE("no structures have no means, and a missing score is refused") {
  CHECK(!summarise({}, 1).overall.scores[0].mean);
  CHECK_THROWS_AS(summarise(some(), 2), Error);
}
