// Sums and joins: the claims of ops.h.
#include <doctest/doctest.h>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

TEST_CASE("a sum takes equal shapes or the shape of the trailing axes") {
  const Tensor a = from_values({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(mismatch(add(a, a), from_values({2, 1, 3}, {2, 4, 6, 8, 10, 12}), {}) == "");
  CHECK(mismatch(add(a, from_values({3}, {10, 20, 30})), from_values({2, 1, 3}, {11, 22, 33, 14, 25, 36}), {}) == "");
  CHECK(mismatch(add(a, from_values({1, 3}, {1, 0, -1})), from_values({2, 1, 3}, {2, 2, 2, 5, 5, 5}), {}) == "");
  CHECK_THROWS_WITH_AS(add(a, zeros({2, 1})), "add: shapes [2, 1, 3] and [2, 1] do not fit", Error);
  CHECK_THROWS_AS(add(zeros({3}), a), Error);
}

TEST_CASE("a sum over many pieces adds every row once") {
  const Tensor a = field("a", {1001, 77}, 1), b = field("b", {77}, 1), sum = add(a, b);
  int64_t wrong = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    wrong += sum.data<float>()[i] != a.data<float>()[i] + b.data<float>()[i % 77];
  }
  CHECK(wrong == 0);
  CHECK(difference_by_threads([&] { return add(a, b); }) == "");
}

TEST_CASE("joined channels stand in the order of the parts") {
  const Tensor a = from_values({2, 1}, {1, 2}), b = from_values({2, 2}, {3, 4, 5, 6});
  CHECK(mismatch(concat_channels({a, b, a}), from_values({2, 4}, {1, 3, 4, 1, 2, 5, 6, 2}), {}) == "");
  CHECK_THROWS_WITH_AS(concat_channels({a, zeros({3, 1})}), "concat_channels: shapes [2, 1] and [3, 1] do not fit",
                       Error);
  CHECK_THROWS_AS(concat_channels({}), Error);
}
