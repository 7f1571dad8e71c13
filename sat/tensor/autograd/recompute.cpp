// Blocks that are run again in the backward pass.
#include "sat/tensor/autograd/recompute.h"

#include <utility>

#include "sat/tensor/autograd/tape.h"

namespace sat {

Features recomputed(const std::vector<Features>& inputs, const Block& block) {
  Tape* tape = Context::current().tape();
  if (!tape) return block(inputs);
  Features y;
  {
    RecordOn nothing(nullptr);
    y = block(inputs);
  }
  tape->record("recomputed", y.values, [inputs, block](Tape& outer, Tensor gradient) {
    std::vector<Features> again = inputs;
    for (Features& input : again) {  // leaves of the inner tape where the outer one asks for their gradients
      if (std::exchange(input.values.history, 0) != 0) Tape::watch(input.values);
    }
    Tape inner;
    {
      RecordOn recording(&inner);
      const Features result = block(again);
      inner.add(result.values, std::move(gradient));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {  // what is there already is added to, as without running it again
      if (again[i].values.history == 0) continue;
      Tensor there = outer.take_gradient(inputs[i].values);
      if (!there.empty()) inner.add(again[i].values, std::move(there));
    }
    inner.run();
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (again[i].values.history == 0) continue;
      Tensor d = inner.take_gradient(again[i].values);
      if (!d.empty()) outer.add(inputs[i].values, std::move(d));
    }
    outer.add_all(std::move(inner));
  });
  return y;
}

bool recomputes(size_t stage) {
  const Tape* tape = Context::current().tape();
  return tape && int64_t(stage) < tape->recomputed_stages();
}

}  // namespace sat
