// Private. A recogniser for the pickles inside PyTorch checkpoints. It executes nothing: it follows the opcodes, builds
// plain values, and keeps whatever else stands beside the tensors (a NumPy array, a Namespace, a set) as a name alone.
// Where the tensors' bytes lie is the container's business (torch_file.cpp).
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sat/io/checkpoints/stored_tensor.h"

namespace sat {

/// A storage that the pickle refers to by key: `numel` elements, as the pickle claims.
struct PickledStorage {
  StoredType type = StoredType::f32;  // where readable
  std::string key;
  int64_t numel = 0;
  int64_t element_bytes = 4;
  bool readable = true;  // no tensor here has the type of the others, such as int16: tensors in them are opaque
};

/// A tensor inside a storage, which it does not leave; offset and strides in elements.
struct PickledTensor {
  int64_t storage = 0;  // index into Pickle::storages
  int64_t offset = 0;
  Shape shape{0};
  std::vector<int64_t> strides;
};

/// One value. Containers hold their items by index, so a value met twice is held once and cycles are possible.
struct PickledValue {
  enum class Kind : uint8_t { none, boolean, integer, real, text, tuple, list, dict, global, storage, tensor, opaque };

  Kind kind = Kind::none;
  union {
    int64_t number = 0;  // boolean and integer: the value; the other kinds but real and text: an index
    double real;
  };
  std::string_view text;  // into the pickle's bytes or Pickle::texts, UTF-8
};

/// What a pickle holds.
struct Pickle {
  std::vector<PickledValue> values;
  std::vector<std::vector<int32_t>> lists;  // of tuples and lists: values; of dicts: key, value, key, value, ...
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
  std::vector<std::string> names;  // of opaque values: "argparse.Namespace", "bytes"
  std::deque<std::string> texts;   // those that were written with escapes
  int32_t root = 0;                // index into values
  int64_t bytes = 0;               // length of the pickle, up to and with its STOP

  const PickledValue& operator[](int32_t index) const { return values[size_t(index)]; }
  const std::vector<int32_t>& items(const PickledValue& container) const { return lists[size_t(container.number)]; }
  const std::string& name(const PickledValue& opaque) const { return names[size_t(opaque.number)]; }
};

/// What a value is, in words: "a dict", "argparse.Namespace".
std::string describe(const Pickle& pickle, const PickledValue& value);

/// Reads one pickle of protocol 0 to 5 from the start of the bytes, which must outlive the result. A class or function
/// that is not known becomes an opaque value, and so does what a call of it would give. Throws Error, its message
/// beginning with `source` and naming the byte offset, for opcodes that no file needs, for globals by which pickles do
/// harm (os.system, builtins.eval), and after `max_operations` steps.
Pickle read_pickle(const uint8_t* bytes, int64_t count, const std::string& source, int64_t max_operations);

}  // namespace sat
