// Private. The record of a forward pass, which runs backwards and gives the gradients of what led to its result.
// Knows tensors by their `history`, not what the ops do (gradients.h).
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sat/tensor/context.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Ops that run in a context with a tape, on inputs with a history, add a node each: how the gradient of the result
/// becomes the gradients of the inputs. A node holds what it needs of the forward pass, and is dropped when it has run,
/// so memory is freed in the order of the backward pass.
class Tape {
 public:
  /// Stages of a network, the largest first, whose inner results are made again in the backward pass (recompute.h).
  explicit Tape(int recomputed_stages = 0) : recomputed_stages_(recomputed_stages) {}
  int recomputed_stages() const { return recomputed_stages_; }

  /// Takes the gradient of the node's result; the tape's own reference, so that it may be written over.
  using Backward = std::function<void(Tape& tape, Tensor gradient)>;

  /// Marks a tensor whose gradient is asked for: a parameter, or an input. Does nothing where it is marked already.
  static void watch(Tensor& x);

  /// Gives `result` a history of its own.
  void record(const char* op, Tensor& result, Backward backward);

  /// gradient of x += `gradient`, on x's device; nothing where x has no history. Whatever order nodes run in is the
  /// order of the sums, so gradients have the same bits for any number of threads.
  void add(const Tensor& x, Tensor gradient);
  /// The gradient of x so far, to be added to: zeros where there was none. x has a history.
  Tensor& sum(const Tensor& x);
  /// gradient of x += what `compute(sum, add)` puts into `sum`: added to it where `add`, else written.
  template <class Compute>
  void add_computed(const Tensor& x, const Compute& compute) {
    if (x.history == 0) return;
    if (gradients_.count(x.history) != 0) return compute(sum(x), true);
    Tensor gradient(x.shape, DType::f32, x.device);
    compute(gradient, false);
    gradients_[x.history] = std::move(gradient);
  }
  /// gradient of x's rows [first, first + rows) += `rows`.
  void add_rows(const Tensor& x, int64_t first, const Tensor& rows);

  /// Runs all nodes backwards, from the gradients that add() and sum() have left, and drops them. Whatever is not the
  /// result of a node keeps its gradient.
  void run();
  /// The same from a result of one element, whose gradient is 1.
  void run(const Tensor& result);

  /// Of a marked tensor, after run(); empty where nothing led to it.
  Tensor gradient(const Tensor& x) const;
  /// The same, which the tape then forgets.
  Tensor take_gradient(const Tensor& x);
  /// Adds all gradients that `other` is left with.
  void add_all(Tape other);

 private:
  void add(uint64_t history, Tensor gradient);

  struct Node {
    const char* op;
    uint64_t result;
    Backward backward;
  };
  int recomputed_stages_;
  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, Tensor> gradients_;
};

/// The current context's tape where it records and one of these has a history, else null.
Tape* following(std::initializer_list<const Tensor*> inputs);

/// Throws Error where a gradient would have to lead through an op that has none.
void refuse_history(const char* op, std::initializer_list<const Tensor*> inputs);

/// Makes a tape, or with null none, that of the current context while it lives.
class RecordOn {
 public:
  explicit RecordOn(Tape* tape) : context_(Context::current()), before_(context_.tape()) { context_.set_tape(tape); }
  ~RecordOn() { context_.set_tape(before_); }
  RecordOn(const RecordOn&) = delete;
  RecordOn& operator=(const RecordOn&) = delete;

 private:
  Context& context_;
  Tape* before_;
};

}  // namespace sat
