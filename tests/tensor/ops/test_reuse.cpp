// Ops that write over what is moved in: the bytes are reused, the bits are those of a result of its own, and what the
// caller keeps stays as it was.
#include <doctest/doctest.h>

#include <utility>

#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

/// `apply(x)` on a tensor that the caller keeps, then on one that it moves in.
template <class Apply>
void check_reuse(const Tensor& before, const Apply& apply) {
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    Context context(options_of(level, 2));
    UseContext use(context);
    const Tensor kept = before.clone();
    const Tensor own = apply(kept);
    CHECK(own.raw() != kept.raw());
    CHECK(same_bits(kept, before));
    Tensor moved = before.clone();
    const void* bytes = moved.raw();
    const Tensor over = apply(std::move(moved));
    CHECK(over.raw() == bytes);
    CHECK(same_bits(over, own));
  }
}

}  // namespace

TEST_CASE("gelu is written over a tensor that is moved in, and leaves a shared one alone") {
  check_reuse(field("x", {33, 70}, 4), [](Tensor x) { return gelu(std::move(x)); });
}

TEST_CASE("linear_add is written over a residual that is moved in, and leaves a shared one alone") {
  const Tensor x = field("x", {33, 20}, 1), bias = field("bias", {70}, 1), scale = field("scale", {70}, 1);
  const Tensor weight = field("weight", {70, 20}, 0.4);
  check_reuse(field("residual", {33, 70}, 1),
              [&](Tensor residual) { return linear_add(std::move(residual), x, pack_linear(weight), bias, scale); });
}

TEST_CASE("linear_add whose residual is its input keeps the input until the sum is taken") {
  const Tensor weight = field("weight", {40, 40}, 0.4);
  for (CpuLevel level : levels()) {
    CAPTURE(name_of(level));
    Context context(options_of(level, 2));
    UseContext use(context);
    const PackedMatrix packed = pack_linear(weight);
    const Tensor x = field("x", {33, 40}, 1);
    CHECK(same_bits(linear_add(x, x, packed, {}), linear_add(x.clone(), x, packed, {})));
  }
}

TEST_CASE("the sum of two volumes is written over either that is moved in, and leaves shared ones alone") {
  const Shape grid{2, 3, 4, 5, 21}, norm{2, 21};
  const Tensor center = field("center", norm, 1), factor = field("factor", norm, 1), shift = field("shift", norm, 1);
  const Tensor other = field("b", grid, 1);
  check_reuse(field("a", grid, 1), [&](Tensor x) {
    return sum_features({std::move(x), center, factor, shift, 0.1f}, {other}, 0.01f).values;
  });
  check_reuse(field("a", grid, 1), [&](Tensor x) {
    return sum_features({other}, {std::move(x), center, factor, shift, 0.1f}, 0.01f).values;
  });
}

TEST_CASE("instance_norm counts statistics and leaves the values where they are") {
  const Tensor before = field("x", {2, 3, 4, 5, 21}, 1), gain = full({21}, 1), bias = zeros({21});
  Tensor x = before.clone();
  const void* bytes = x.raw();
  const Features y = instance_norm(std::move(x), {gain, bias, 1e-5f, 0.01f});
  CHECK(y.values.raw() == bytes);
  CHECK(same_bits(y.values, before));
  CHECK(y.center.shape == Shape({2, 21}));
}
