// Claims: texts are assembled, masked and weighted by the published rules, faults included, and a seed decides all.
#include <doctest/doctest.h>

#include <numeric>

#include "sat/io/reports/report_masking.h"
#include "sat/tensor/error.h"
#include "tests/io/reports/tokenizer_file.h"

namespace sat::test {
namespace {

/// These numbers, and an Error beyond them.
UniformStream numbers(std::vector<double> values) {
  return [values = std::move(values), i = size_t(0)]() mutable {
    SAT_CHECK(i < values.size(), "more than ", values.size(), " draws");
    return values[i++];
  };
}

// 5 .  6 there  7 is  8 no  9 evidence  10 of  11 edema  12 ##s  13 mild  14 mass
ReportTokenizer words() {
  return small_tokenizer({".", "there", "is", "no", "evidence", "of", "edema", "##s", "mild", "mass"});
}

using Ids = std::vector<int64_t>;
constexpr double kNever = 0.9, kAlways = 0;

}  // namespace

TEST_CASE("sentences go in at the drawn place, both ends included, in 8 cases of 10") {
  const std::string report = "One. Two.";  // three parts, the last one empty
  CHECK(assemble_report(report, "In.", numbers({0.8})) == "[CLS] One. Two.");
  CHECK(assemble_report(report, "In.", numbers({0.79, 0})) == "[CLS] In.One. Two.");
  CHECK(assemble_report(report, "In.", numbers({0, 0.25})) == "[CLS] One.In. Two.");
  CHECK(assemble_report(report, "In.", numbers({0, 0.5})) == "[CLS] One. Two.In.");
  CHECK(assemble_report(report, "In.", numbers({0, 0.999})) == "[CLS] One. Two.In.");
  CHECK(assemble_report("One. Two", "In.", numbers({0, 0})) == "[CLS] In.One. Two.");  // ends with a period now
  CHECK(assemble_report("", "", numbers({0, 0.5})) == "[CLS] .");
}

TEST_CASE("two periods become one, once") {
  CHECK(assemble_report("a..b...c....d", "", numbers({0.9})) == "[CLS] a.b..c..d");
}

TEST_CASE("without entities 75 of 100 tokens are masked, the first and the last never") {
  const ReportTokenizer tokenizer = words();
  CHECK(mask_entities({2, 13, 9, 13, 5}, tokenizer, numbers({0.74, 0.75, 0})).ids == Ids{2, 3, 9, 3, 5});
  CHECK(mask_entities({2, 13}, tokenizer, numbers({})).ids == Ids{2, 13});
  CHECK(mask_entities({}, tokenizer, numbers({})).ids.empty());
}

TEST_CASE("with an entity 70 of 100 others are masked, and entities afterwards") {
  const MaskedReport masked =
      mask_entities({2, 13, 11, 13, 14, 5}, words(), numbers({0.7, kAlways, 0.69, kAlways, 0.75, 0.74}));
  CHECK(masked.ids == Ids{2, 13, 11, 3, 3, 5});
  CHECK(masked.descriptors == Ids{1, 3, 2});  // an entity before an entity describes it like any word
}

TEST_CASE("an entity at the last position does not count") {
  CHECK(mask_entities({2, 13, 11}, words(), numbers({0.74})).ids == Ids{2, 3, 11});
}

TEST_CASE("descriptors pass over periods and position 0, and are named once") {
  const ReportTokenizer tokenizer = words();
  const auto descriptors = [&](const Ids& ids) {
    return mask_entities(ids, tokenizer, [] { return kNever; }).descriptors;
  };
  CHECK(descriptors({2, 13, 5, 11, 0}) == Ids{1});
  CHECK(descriptors({2, 5, 5, 11, 0}) == Ids{});
  CHECK(descriptors({2, 11, 0}) == Ids{});
  CHECK(descriptors({2, 13, 11, 14, 0}) == Ids{1, 2});
}

TEST_CASE("a piece follows the piece before it without drawing, but not an entity of the second round") {
  const ReportTokenizer tokenizer = words();
  CHECK(mask_entities({2, 13, 12, 12, 13, 12, 5}, tokenizer, numbers({kAlways, kNever})).ids ==
        Ids{2, 3, 3, 3, 13, 12, 5});
  CHECK(mask_entities({2, 11, 12, 5}, tokenizer, numbers({kNever, kAlways})).ids == Ids{2, 3, 12, 5});
}

TEST_CASE("nothing is masked or drawn from the first padding on") {
  CHECK(mask_entities({2, 13, 0, 13, 13, 5}, words(), numbers({kAlways})).ids == Ids{2, 3, 0, 13, 13, 5});
}

TEST_CASE("words that deny weigh 0.05, and the sum of all weights stays") {
  const ReportTokenizer tokenizer = words();
  const Ids ids{2, 6, 7, 8, 9, 10, 13, 11, 5, 6, 7, 8, 11, 5};
  const std::vector<float> weights = token_weights(ids, {6, 5, 11, 10}, tokenizer);
  CHECK(weights[1] == 0.05f);
  CHECK(weights[9] == 0.05f);
  CHECK(weights[0] == 1);
  CHECK(weights[6] == doctest::Approx(8.75 / (4 - 2.85)).epsilon(1e-6));
  CHECK(std::accumulate(weights.begin(), weights.end(), 0.0) == doctest::Approx(14));
  const std::vector<float> all = token_weights(ids, {}, tokenizer);
  CHECK(std::accumulate(all.begin(), all.end(), 0.0) == doctest::Approx(14));
  CHECK(all[0] > 1);
  CHECK(token_weights({2, 13, 11, 5}, {1}, tokenizer) == std::vector<float>(4, 1));
}

TEST_CASE("a phrase is looked for only where the longer one could still stand, as published") {
  const ReportTokenizer tokenizer = words();
  CHECK(token_weights({2, 6, 7, 8, 13}, {}, tokenizer) == std::vector<float>(5, 1));
  CHECK(token_weights({2, 6, 7, 8, 13, 5}, {}, tokenizer)[1] < 0.1f);
  CHECK(token_weights({}, {}, tokenizer).empty());
}

TEST_CASE("what masking and weights need of a vocabulary or a position is said") {
  const ReportTokenizer tokenizer = small_tokenizer({"a"});
  CHECK_THROWS_WITH(mask_entities({2, 5, 4}, tokenizer, numbers({})),
                    "small.json: a vocabulary of 6 entries without '.'");
  CHECK_THROWS_WITH(token_weights({2, 5, 4}, {}, tokenizer), "small.json: a vocabulary of 6 entries without 'there'");
  CHECK_THROWS_WITH(token_weights({2, 5, 4}, {3}, words()), "token_weights: position 3 of 3 tokens");
  CHECK_THROWS_AS(token_weights({2, 5, 4}, {-1}, words()), Error);
}

TEST_CASE("ids that no vocabulary has are masked as words") {
  CHECK(mask_entities({2, 1000000, -7, 5}, words(), numbers({0, 0})).ids == Ids{2, 3, 3, 5});
}

TEST_CASE("a seed gives SplitMix64's numbers") {
  UniformStream stream = seeded_stream(1234567);
  for (const uint64_t want : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u}) {
    CHECK(stream() == double(want >> 11) / 9007199254740992.0);
  }
  UniformStream again = seeded_stream(1234567), other = seeded_stream(1234568);
  const double first = again();
  CHECK(first == double(uint64_t(6457827717110365317u) >> 11) / 9007199254740992.0);
  CHECK(first != other());
}

}  // namespace sat::test
