// Private: the classes and functions that a pickle may name: those that make tensors, those that are skipped, and
// those by which pickles do harm.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sat/io/checkpoints/stored_tensor.h"

namespace sat {

enum class PickledCallable : uint8_t {
  tensor,
  parameter,
  typed_tensor,  // a call of a tensor's own function, with attributes beside it
  dict,
  size,
  device,
  storage  // named, never called
};

/// A global that means something here.
struct PickledGlobal {
  const char* module;
  const char* name;
  PickledCallable callable;
  size_t least = 0, most = 0;  // arguments
  StoredType type = StoredType::f32;
  int64_t element_bytes = 0;  // of a storage
  bool readable = true;       // see PickledStorage
};

/// The index of a known global, or -1; and the global of an index.
int64_t find_pickled_global(std::string_view module, std::string_view name);
const PickledGlobal& pickled_global(int64_t index);

/// Whether a file that names this global is refused: nothing here would call it, but who opens the file elsewhere
/// should know. True also for what cannot be a module's and a name at all.
bool is_refused_global(std::string_view module, std::string_view name);

/// The name under which a global is shown, "numpy.dtype"; without the module where that is Python itself.
std::string shown_global(std::string_view module, std::string_view name);
/// The name of what a call of the global with that shown name gives: "numpy.ndarray" for NumPy's own helpers.
std::string shown_result(const std::string& global);

}  // namespace sat
