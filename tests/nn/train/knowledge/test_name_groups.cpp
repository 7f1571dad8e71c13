// Groups of names: their mean cosines, and the plane in which they are drawn.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "sat/nn/train/knowledge/monitoring/name_groups.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("cosines are told within groups, of names held out, and between groups") {
  const std::vector<NameGroup> groups{{"a", {"b"}, {"c"}}, {"d", {}, {"e"}}};
  const Tensor rows = from_values({5, 2}, {2, 0, 1, 1, 0, 3, 0, 1, 1, 0});
  const NameSimilarity got = similarity_of(groups, rows);
  const double root = std::sqrt(0.5);
  CHECK(got.learnt == doctest::Approx(root));
  CHECK(got.held_out == doctest::Approx(0));  // c to a, e to d
  CHECK(got.others == doctest::Approx((0 + 1 + root + root + 1 + 0) / 6));
  CHECK(got.nearest == 0);
  CHECK(got.by_group[0] == doctest::Approx(root));
  CHECK_THROWS_AS(similarity_of(groups, rows.slice(0, 4)), Error);
}

TEST_CASE("the principal plane keeps the order along the widest spread") {
  Tensor rows({5, 3});
  const float along[] = {0, 1, 4, 2, 3}, across[] = {0.1f, -0.1f, 0.2f, 0.1f, -0.3f};  // not correlated
  for (int64_t i = 0; i < 5; ++i) {
    rows.data<float>()[3 * i] = 10 + along[i];
    rows.data<float>()[3 * i + 1] = 2 * along[i];
    rows.data<float>()[3 * i + 2] = across[i];
  }
  const auto points = principal_plane(rows);
  const bool forward = points[2].first > points[0].first;
  for (size_t i = 0; i < 5; ++i) {
    const double want = double(along[i]) / 4;
    CHECK(points[i].first == doctest::Approx(forward ? want : 1 - want).epsilon(0.02));
  }
  CHECK(std::fabs(points[0].second - points[3].second) < 0.02);
  CHECK(std::fabs(points[2].second - points[4].second) > 0.9);
}

TEST_CASE("a file of names says what is wrong with it") {
  const TempDir folder;
  const auto read = [&](const char* text) {
    std::ofstream(folder / "names.json") << text;
    return read_name_groups(folder / "names.json");
  };
  CHECK(names_of(read(R"({"a": {"learnt": ["b", "c"], "held_out": []}, "d": {"learnt": [], "held_out": ["e"]}})")) ==
        std::vector<std::string>{"a", "b", "c", "d", "e"});
  CHECK_THROWS_AS(read(R"({"a": {"learnt": ["b"], "held_out": []}})"), Error);
  CHECK_THROWS_AS(read(R"({"a": {"learnt": ["b"]}, "c": {"learnt": [], "held_out": []}})"), Error);
  CHECK_THROWS_AS(read(R"([])"), Error);
}
