// Contrastive losses: the values of spec B.11 and recorded ones, rows that are left out, exponents beyond f32.
#include <doctest/doctest.h>

#include <cmath>

#include "sat/nn/train/knowledge/contrastive_losses.h"
#include "sat/nn/train/knowledge/monitoring/retrieval.h"
#include "tests/support/golden.h"
#include "tests/support/parity/knowledge/knowledge_parity.h"

using namespace sat;
using namespace sat::test;

namespace {

double value(const Tensor& x) { return double(x.data<float>()[0]); }
Tensor logarithm_of(double scale) { return full({1}, float(std::log(scale))); }

const std::vector<std::string> kLabels{"liver", "spleen", "liver"};

}  // namespace

TEST_CASE("both losses have the values of the published code") {
  const Tensor u = from_values({3, 2}, {1, 0, 0, 1, 0.6f, 0.8f}), v = from_values({3, 2}, {0.8f, 0.6f, 0, 1, 1, 0});
  CHECK(value(text_text_loss(u, v, text_targets(kLabels), logarithm_of(10))) ==
        doctest::Approx(1.47563001).epsilon(1e-6));
  CHECK(value(text_atlas_loss(u, v, label_numbers(kLabels), logarithm_of(10))) ==
        doctest::Approx(0.40030494).epsilon(1e-6));
}

TEST_CASE("losses and gradients of rows, and those of the first stage, are the recorded ones") {
  for (const ParityLine& line : compare_contrastive_losses(golden_path("sat/pretrain"))) {
    CAPTURE(line.quantity);
    CAPTURE(line.error);
    CHECK(line.passed());
  }
}

TEST_CASE("targets are columns of length 1") {
  const float root = float(1 / std::sqrt(2.0));
  CHECK(mismatch(text_targets(kLabels), from_values({3, 3}, {root, 0, root, 0, 1, 0, root, 0, root}), {1e-7, 0}) == "");
}

TEST_CASE("a scale of 100 does not overflow, with rows that are opposite") {
  const Tensor u = from_values({2, 2}, {1, 0, 0, 1}), v = from_values({2, 2}, {-1, 0, 0, -1});
  CHECK(value(text_atlas_loss(u, v, {0, 1}, logarithm_of(100))) == doctest::Approx(100));
  CHECK(value(text_text_loss(u, u, text_targets({"a", "b"}), logarithm_of(100))) == doctest::Approx(0));
}

TEST_CASE("rows of one label alone have nothing to be told apart from") {
  const Tensor u = normalize_rows(field("u", {3, 4}, 1)), v = normalize_rows(field("v", {3, 4}, 1));
  CHECK(value(text_atlas_loss(u, v, {5, 5, 5}, logarithm_of(10))) == doctest::Approx(0));
}

TEST_CASE("rows and labels that do not fit are refused") {
  const Tensor u = zeros({3, 4});
  CHECK_THROWS_AS(text_atlas_loss(u, u, {0, 1}, logarithm_of(1)), Error);
  CHECK_THROWS_AS(text_text_loss(u, zeros({2, 4}), text_targets(kLabels), logarithm_of(1)), Error);
}

TEST_CASE("retrieval counts the rows of other labels that are more similar than one's own") {
  const Tensor u = from_values({4, 2}, {1, 0, 0, 1, 1, 0, -1, 0});
  const Tensor v = from_values({4, 2}, {0.9f, 0.1f, 1, 0, 0, 1, -1, 0});
  const Retrieval all = retrieval_of(u, v, {"a", "b", "a", "c"});
  CHECK(all.forth[0] == doctest::Approx(0.25));  // "c" alone; two of the others' own are second, one's is third
  CHECK(all.forth[1] == 1);
  CHECK(all.pairs == 4);
  const Retrieval same = retrieval_of(u, u, {"a", "b", "a", "c"});
  CHECK(same.forth[0] == 1);
  CHECK(same.back[0] == 1);
}
