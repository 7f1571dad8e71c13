// The tape: who is watched, how gradients add up, what is refused, when memory is given back.
#include <doctest/doctest.h>

#include "sat/tensor/autograd/recompute.h"
#include "sat/tensor/autograd/tape.h"
#include "sat/tensor/context.h"
#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "tests/support/golden.h"
#include "tests/support/levels.h"

using namespace sat;
using namespace sat::test;

namespace {

Tensor watched(const std::string& name, const Shape& shape) {
  Tensor x = field(name, shape, 1);
  Tape::watch(x);
  return x;
}

/// The sum of all elements, as a tensor of one.
Tensor total(const Tensor& x) {
  return reshape(product_transposed(reshape(x, {1, x.numel()}), full({1, x.numel()}, 1)), {1});
}

}  // namespace

TEST_CASE("a tensor that two ops read has the sum of both gradients") {
  Tensor x = watched("x", {3, 5});
  Tape tape;
  RecordOn recording(&tape);
  tape.run(total(add(multiply(x, x), x)));
  const Tensor gradient = tape.gradient(x);
  for (int64_t i = 0; i < 15; ++i) CHECK(gradient.data<float>()[i] == doctest::Approx(2 * x.data<float>()[i] + 1));
}

TEST_CASE("a gradient that goes two ways is written over by neither") {
  Tensor a = watched("a", {4}), b = watched("b", {4});
  Tape tape;
  RecordOn recording(&tape);
  const Tensor sum = add(a, b);
  tape.run(total(add(sum, multiply(a, a))));
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(tape.gradient(b).data<float>()[i] == 1);
    CHECK(tape.gradient(a).data<float>()[i] == doctest::Approx(1 + 2 * a.data<float>()[i]));
  }
}

TEST_CASE("views lead gradients to the rows that they show") {
  Tensor x = watched("x", {4, 2});
  Tape tape;
  RecordOn recording(&tape);
  tape.run(total(add(reshape(slice(x, 1, 3), {4}), add(reshape(slice(x, 2, 4), {4}), full({4}, 0)))));
  const float want[] = {0, 0, 1, 1, 2, 2, 1, 1};
  for (int64_t i = 0; i < 8; ++i) CHECK(tape.gradient(x).data<float>()[i] == want[i]);
}

TEST_CASE("what is not watched gets no gradient, and a context without a tape records nothing") {
  Tensor x = watched("x", {2, 3}), frozen = field("y", {2, 3}, 1);
  Tape tape;
  {
    RecordOn recording(&tape);
    const Tensor y = multiply(x, frozen);
    CHECK(y.history != 0);
    CHECK(multiply(frozen, frozen).history == 0);
    tape.run(total(y));
  }
  CHECK(tape.gradient(frozen).empty());
  CHECK(multiply(x, frozen).history == 0);
}

TEST_CASE("writing into a tensor that a gradient leads through is refused") {
  Tensor x = watched("x", {2, 3}), room = zeros({4, 3});
  Tape tape;
  RecordOn recording(&tape);
  CHECK_THROWS_WITH_AS(copy_into(room, 0, x),
                       "copy_into: has no gradient, and something that is learnt led to its input", Error);
}

TEST_CASE("a weight that was packed without a tape is refused where a gradient would lead through it") {
  const PackedMatrix packed = pack_linear(field("w", {4, 3}, 1));
  Tensor x = watched("x", {2, 3});
  Tape tape;
  RecordOn recording(&tape);
  CHECK_THROWS_WITH_AS(
      linear(x, packed, {}),
      "linear: a gradient cannot lead through a weight that was packed; build the layer in the context with the tape",
      Error);
}

TEST_CASE("a result of more than one element, or of nothing that learns, has no gradient to begin with") {
  Tensor x = watched("x", {2});
  Tape tape;
  RecordOn recording(&tape);
  CHECK_THROWS_AS(tape.run(add(x, x)), Error);
  CHECK_THROWS_AS(tape.run(full({1}, 1)), Error);
}

TEST_CASE("what a node holds is given back when it has run") {
  Context context(options_of(CpuLevel::plain, 1));
  UseContext use(context);
  Tensor x = watched("x", {1000});
  Tape tape;
  {
    RecordOn recording(&tape);
    Tensor y = x;
    for (int i = 0; i < 5; ++i) y = multiply(y, y);
    tape.run(total(y));
  }
  CHECK(context.memory()->live_bytes() < 3 * 4096 + 512);  // x and its gradient
}

TEST_CASE("a block that is run again gives the gradients of one that was kept, and keeps less") {
  Tensor weight = watched("weight", {6, 6, 3, 3, 3}), gain = watched("gain", {6}), bias = watched("bias", {6});
  Tensor image = watched("image", {1, 8, 8, 8, 6});
  Tensor gradients[2][4];
  int64_t held[2];
  for (const bool again : {false, true}) {
    Context context(options_of(CpuLevel::plain, 1));
    UseContext use(context);
    Tape tape;
    RecordOn recording(&tape);
    const ConvBlockWeight packed = pack_conv_block(weight, {});
    const NormWeights norm{gain, bias};
    const Block block = [=](const std::vector<Features>& inputs) {
      Features x = inputs[0];
      for (int i = 0; i < 3; ++i) x = conv3d_norm(x, packed, norm);
      return x;
    };
    const Features in{image};
    Tensor y = materialize(again ? recomputed({in}, block) : block({in}));
    held[int(again)] = context.memory()->live_bytes();
    y = multiply(y, y);
    tape.run(total(y));
    const Tensor* parameters[] = {&weight, &gain, &bias, &image};
    for (size_t i = 0; i < 4; ++i) gradients[int(again)][i] = tape.gradient(*parameters[i]);
  }
  for (size_t i = 0; i < 4; ++i) CHECK(same_bits(gradients[0][i], gradients[1][i]));
  CHECK(held[1] + 2 * 512 * 6 * 4 <= held[0]);
}
