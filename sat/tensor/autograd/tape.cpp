// The tape: nodes in the order of the forward pass, gradients by history.
#include "sat/tensor/autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "sat/tensor/ops.h"
#include "sat/tensor/ops/check.h"

namespace sat {

namespace {

/// Numbers are never used twice in a process, so that tensors of any contexts can meet on one tape.
uint64_t new_history() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

void Tape::watch(Tensor& x) {
  if (x.history == 0) x.history = new_history();
}

void Tape::record(const char* op, Tensor& result, Backward backward) {
  result.history = new_history();
  nodes_.push_back({op, result.history, std::move(backward)});
}

void Tape::add(const Tensor& x, Tensor gradient) {
  if (x.history == 0) return;
  SAT_CHECK(gradient.numel() == x.numel(), "tape: a gradient of shape ", gradient.shape, " for a tensor of shape ",
            x.shape);
  if (gradient.device != x.device) gradient = gradient.to(x.device);
  gradient.shape = x.shape;
  add(x.history, std::move(gradient));
}

void Tape::add(uint64_t history, Tensor gradient) {
  Tensor& sum = gradients_[history];
  if (sum.empty()) {
    sum = std::move(gradient);
    return;
  }
  Tensor& to = is_last_reference(sum) ? sum : gradient;  // a gradient that went two ways is nobody's to write
  if (!is_last_reference(to)) {
    sum = sat::add(sum, gradient);
    return;
  }
  Backend& backend = backend_of("tape", {&sum, &gradient});
  backend.add(to, sum, gradient);
  if (&to != &sum) sum = std::move(gradient);
}

Tensor& Tape::sum(const Tensor& x) {
  Tensor& sum = gradients_[x.history];
  if (sum.empty()) {
    sum = zeros(x.shape, DType::f32, x.device);
  } else if (!is_last_reference(sum)) {
    sum = sum.clone();
  }
  return sum;
}

void Tape::add_rows(const Tensor& x, int64_t first, const Tensor& rows) {
  if (x.history == 0) return;
  const Tensor from = rows.to(x.device);
  Tensor part = sum(x).slice(first, first + rows.shape[0]);
  backend_of("tape", {&part}).add(part, part, from);
}

void Tape::run() {
  RecordOn nothing(nullptr);
  while (!nodes_.empty()) {
    const Node node = std::move(nodes_.back());
    nodes_.pop_back();
    const auto found = gradients_.find(node.result);
    if (found == gradients_.end()) continue;  // nothing that is differentiated was made of it
    Tensor gradient = std::move(found->second);
    gradients_.erase(found);
    profile::Range range(node.op, gradient.shape);
    node.backward(*this, std::move(gradient));
  }
}

void Tape::run(const Tensor& result) {
  SAT_CHECK(result.numel() == 1, "tape: a result of shape ", result.shape, ", needs one element");
  SAT_CHECK(result.history != 0, "tape: nothing that is learnt led to this result");
  add(result, full(result.shape, 1));
  run();
}

Tensor Tape::gradient(const Tensor& x) const {
  const auto found = gradients_.find(x.history);
  return found == gradients_.end() ? Tensor() : found->second;
}

Tensor Tape::take_gradient(const Tensor& x) {
  Tensor gradient = this->gradient(x);
  gradients_.erase(x.history);
  return gradient;
}

void Tape::add_all(Tape other) {
  for (auto& [history, gradient] : other.gradients_) add(history, std::move(gradient));
}

Tape* following(std::initializer_list<const Tensor*> inputs) {
  Tape* tape = Context::current().tape();
  if (!tape) return nullptr;
  const bool any = std::any_of(inputs.begin(), inputs.end(), [](const Tensor* x) { return x->history != 0; });
  return any ? tape : nullptr;
}

void refuse_history(const char* op, std::initializer_list<const Tensor*> inputs) {
  SAT_CHECK(!following(inputs), op, ": has no gradient, and something that is learnt led to its input");
}

}  // namespace sat
