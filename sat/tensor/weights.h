// Private. Named tensors of a checkpoint, walked by prefix: a layer asks for what it needs, and what nobody asked for
// is reported. Knows names and shapes, not files (io/checkpoints/safetensors.h, io/checkpoints/torch_file.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// How many values of a float tensor (f32, f16, bf16) on the CPU are NaN or infinite; 0 for the other types.
int64_t count_not_finite(const Tensor& x);

/// A place in a checkpoint's name tree. Copies are cheap and share what has been read.
///   const Weights stage = w / "encoder" / "stages" / 0;
///   Tensor weight = (stage / "conv").get("weight", {64, 3, 3, 3, 3});
class Weights {
 public:
  using Loader = std::function<Tensor()>;  // reads one tensor as f32 when it is asked for

  struct Entry {
    std::string name;
    Shape shape;
    DType dtype;  // as stored
    Loader load;
  };

  Weights() : Weights(std::vector<Entry>{}, "no file") {}
  /// `source` names the file in error messages. Duplicate names are refused.
  Weights(std::vector<Entry> entries, std::string source);
  static Weights from_tensors(const std::map<std::string, Tensor>& tensors, const std::string& source = "memory");

  /// A checkpoint that has whatever is asked for, made on the spot by `make(full name, shape)`.
  using Maker = std::function<Tensor(const std::string& name, const Shape& shape)>;
  static Weights made(Maker make);

  /// The same tensors for a model that is going to be trained: what is asked for is kept under its published name, and
  /// given out again to the next model that is built of it. Those that `learns` is true of are watched by tapes.
  Weights for_training(const std::function<bool(const std::string& name)>& learns = {}) const;
  bool training() const;
  /// What was asked for so far of weights for_training(), by full name: every learnable tensor once, those included
  /// that no forward pass reads.
  const std::map<std::string, Tensor>& parameters() const;

  /// The same tensors; to load one that holds a NaN or an infinity throws Error naming it and how many it holds.
  Weights finite() const;

  Weights operator/(const std::string& step) const;
  Weights operator/(int64_t step) const;

  /// The tensor `prefix.name` as f32 of exactly this shape, in bytes of the current context; throws Error naming file,
  /// tensor and both shapes otherwise.
  Tensor get(const std::string& name, const Shape& shape) const;
  bool has(const std::string& name) const;        // exact tensor `prefix.name`
  bool has_any() const;                           // any tensor below this prefix
  Shape shape_of(const std::string& name) const;  // throws if absent
  void ignore(const std::string& name) const;     // counts as read: known and deliberately unused
  void ignore_all() const;                        // everything below this prefix

  /// Names (from the root) that nobody asked for, sorted.
  std::vector<std::string> never_read() const;
  /// All names below this prefix, sorted, with their shapes and stored types.
  std::vector<Entry> entries() const;
  const std::string& source() const;
  const std::string& prefix() const { return prefix_; }

 private:
  struct Table;
  Weights(std::shared_ptr<Table> table, std::string prefix);
  std::string full(const std::string& name) const;
  Tensor load(const std::string& path, const Shape& shape) const;

  std::shared_ptr<Table> table_;
  std::string prefix_;
};

}  // namespace sat
