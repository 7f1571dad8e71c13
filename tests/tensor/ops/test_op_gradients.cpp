// The gradients of the table of ops (tests/support/op_rows): every op of it under a tape, on every level of this
// machine, against differences of its definition.
#include <doctest/doctest.h>

#include "sat/tensor/memory/memory.h"
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

/// Bytes that the gradients of these inputs need at once, beside them.
int64_t most_bytes(Context& context, const OpRow& row, const Tensors& inputs) {
  const int64_t before = context.memory()->live_bytes();
  context.memory()->reset_peak();
  gradients_by(row, inputs);
  return context.memory()->peak_bytes() - before;
}

}  // namespace

TEST_CASE("every op's gradient follows its definition on every level, with the same bits for any number of threads") {
  Contexts contexts;
  int64_t checked = 0;
  for (const OpRow& row : op_rows()) {
    if (!checks_gradient(row)) continue;
    ++checked;
    CAPTURE(row.name);
    const Tensors inputs = inputs_of(row);
    const std::vector<Slope> slopes = defined_slopes(row);
    for (const CpuLevel level : levels()) {
      CAPTURE(std::string(name_of(level)));
      const auto computed = [&](int threads) {
        UseContext use(contexts.of(level, threads));
        return gradients_by(row, inputs);
      };
      const Tensors alone = computed(1);
      CHECK(gradient_mismatch(row, alone, slopes) == "");
      for (const int threads : {2, 3, 8}) {
        CAPTURE(threads);
        const Tensors together = computed(threads);
        for (size_t i = 0; i < alone.size(); ++i) {
          CHECK((alone[i].empty() || same_bits(together[i], alone[i])));
        }
      }
    }
  }
  CHECK(checked > 150);
}

TEST_CASE("an op without a gradient says so where something that is learnt leads to it") {
  Contexts contexts;
  int64_t refused = 0;
  for (const OpRow& row : op_rows()) {
    if (row.gradient != Gradient::refused) continue;
    ++refused;
    CAPTURE(row.name);
    UseContext use(contexts.of(best_cpu_level(), 1));
    CHECK_THROWS_WITH_AS(gradients_by(row, inputs_of(row)),
                         doctest::Contains("has no gradient, and something that is learnt led to its input"), Error);
  }
  CHECK(refused > 20);
}

TEST_CASE("a backward pass in a dry context holds what it holds in a real one, and reads nothing") {
  for (const OpRow& row : op_rows()) {
    if (!checks_gradient(row)) continue;
    CAPTURE(row.name);
    Context real(options_of(best_cpu_level(), 1)), dry(real.dry_run());
    int64_t held = 0;
    {
      UseContext use(real);
      held = most_bytes(real, row, inputs_of(row));
    }
    UseContext use(dry);
    CHECK(most_bytes(dry, row, virtual_inputs(row)) == held);
  }
}

TEST_CASE("a gradient that is not the definition's is noticed, as is one that leads nowhere") {
  const OpRow& row = op_rows().front();
  const std::vector<Slope> slopes = defined_slopes(row);
  Tensors gradients = gradients_by(row, inputs_of(row));
  CHECK(gradient_mismatch(row, gradients, slopes) == "");
  gradients[0].data<float>()[0] *= 1.001f;
  CHECK(gradient_mismatch(row, gradients, slopes).find("gradient of x: got ") == 0);
  gradients[0] = Tensor();
  CHECK(gradient_mismatch(row, gradients, slopes) == "nothing led to x");
}
