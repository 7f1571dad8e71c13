// A recogniser for the pickles inside PyTorch checkpoints. It executes nothing: it follows the opcodes that a state
// dict needs, builds plain values, and refuses every other opcode and every global beyond a fixed list.
// Where the tensors' bytes lie is the container's business (torch_file.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sat/io/stored_tensor.h"

namespace sat {

/// A storage that the pickle refers to by key: `numel` elements, as the pickle claims.
struct PickledStorage {
  StoredType type = StoredType::f32;
  std::string key;
  int64_t numel = 0;
};

/// A tensor inside a storage, which it does not leave; offset and strides in elements.
struct PickledTensor {
  int64_t storage = 0;  // index into Pickle::storages
  int64_t offset = 0;
  Shape shape{0};
  std::vector<int64_t> strides;
};

/// One value. Containers name their items by index, so a value met twice is held once and cycles are possible.
struct PickledValue {
  enum class Kind : uint8_t { none, boolean, integer, real, text, tuple, list, dict, global, storage, tensor };

  Kind kind = Kind::none;
  int64_t number = 0;  // boolean and integer: the value; global, storage, tensor: an index
  double real = 0;
  std::string_view text;       // into the pickle's bytes, UTF-8
  std::vector<int32_t> items;  // tuple, list: values; dict: key, value, key, value, ...
};

/// What a pickle holds.
struct Pickle {
  std::vector<PickledValue> values;
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
  int32_t root = 0;   // index into values
  int64_t bytes = 0;  // length of the pickle, up to and with its STOP

  const PickledValue& operator[](int32_t index) const { return values[size_t(index)]; }
};

/// Reads one pickle of protocol 2 to 5 from the start of the bytes, which must outlive the result. Throws Error, its
/// message beginning with `source`, naming the opcode or global refused and its byte offset.
Pickle read_pickle(const uint8_t* bytes, int64_t count, const std::string& source);

}  // namespace sat
