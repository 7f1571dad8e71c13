// Every row of the table of ops in a dry context, which must hold what a real one holds and read nothing; and with a
// tensor of a device that is not there.
#include <doctest/doctest.h>

#include "sat/tensor/memory/memory.h"
#include "sat/tensor/ops.h"
#include "sat/tensor/profile.h"
#include "tests/support/levels.h"
#include "tests/support/op_rows/op_rows.h"

using namespace sat;
using namespace sat::test;

namespace {

/// Inputs without bytes, in the current, dry, context.
Tensors virtual_inputs(const OpRow& row) {
  Tensors inputs;
  for (const OpInput& input : row.inputs) inputs.emplace_back(input.shape, input.dtype);
  return inputs;
}

}  // namespace

TEST_CASE("every op runs through in a dry context, holds there what it holds in a real one, and has no elements") {
  for (const OpRow& row : op_rows()) {
    CAPTURE(row.name);
    for (const CpuLevel level : {levels().front(), levels().back()}) {
      Context real(options_of(level, 1, row.on_tiles ? Tiles::yes : Tiles::no));
      Context dry(real.dry_run());
      Shape shape;
      {
        UseContext use(real);
        const Tensors inputs = inputs_of(row);
        real.memory()->reset_peak();
        shape = computed_by(row, inputs).shape;
      }
      UseContext use(dry);
      const Tensors inputs = virtual_inputs(row);
      const Tensor y = computed_by(row, inputs);
      CHECK(y.shape == shape);
      CHECK_THROWS_WITH_AS(y.data<float>(), doctest::Contains("no bytes in a dry run"), Error);
      CHECK(dry.memory()->peak_bytes() == real.memory()->peak_bytes());
    }
  }
}

TEST_CASE("who asks for the elements of a virtual tensor is told which op did") {
  ContextOptions options;
  options.dry = true;
  Context context(options);
  UseContext use(context);
  Tensor x({2, 3});
  CHECK_THROWS_WITH_AS(x.data<float>(),
                       "this code: a tensor of shape [2, 3] has no bytes in a dry run, and they were "
                       "asked for",
                       Error);
  const profile::Range outer("an op", x.shape);
  {
    const profile::Range inner("an op within", x.shape);
    CHECK(std::string(profile::current_op()) == "an op within");
    CHECK_THROWS_WITH_AS(x.select(1).data<float>(), doctest::Contains("an op within: a tensor of shape [3]"), Error);
  }
  CHECK_THROWS_WITH_AS(x.data<float>(), doctest::Contains("an op: a tensor of shape [2, 3]"), Error);
  CHECK(x.address<float>() != nullptr);
}

TEST_CASE("a tensor of another device is an error in every op, whichever argument it is") {
  const Device elsewhere(Device::cuda, 1);
  for (const OpRow& row : op_rows()) {
    CAPTURE(row.name);
    Context context(options_of(best_cpu_level(), 1, row.on_tiles ? Tiles::yes : Tiles::no));
    UseContext use(context);
    const Tensors inputs = inputs_of(row);
    for (size_t forged = 0; forged <= inputs.size(); ++forged) {
      CAPTURE(forged);
      Tensors some = inputs;
      for (size_t i = 0; i < some.size(); ++i) {
        if (i == forged || forged == inputs.size()) some[i].device = elsewhere;
      }
      CHECK_THROWS_AS(row.run(some), Error);
    }
  }
  Tensor x({3});
  x.device = elsewhere;
  CHECK_THROWS_WITH_AS(x.data<float>(), "tensor [3] lies on cuda:1, not on the CPU", Error);
  CHECK_THROWS_WITH_AS(add(x, full({3}, 1)), doctest::Contains("on cuda:1"), Error);
  CHECK_THROWS_WITH_AS(to_host(x), "a tensor lies on cuda:1, the current context computes on cpu", Error);
}
