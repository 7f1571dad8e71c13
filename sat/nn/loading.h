// Private. What loading a model takes, learnt by a dry run, and the contexts that it is loaded and used in: the same
// for all of the papers' models.
#pragma once

#include <string>

#include "sat/nn/load_options.h"
#include "sat/tensor/memory/block_allocator.h"
#include "sat/tensor/memory/memory.h"

namespace sat {

/// What a model takes in the context that it is loaded in.
struct ModelBytes {
  int64_t loading = 0;    // peak of the CPU's tensors while it is built
  int64_t on_host = 0;    // of its weights in the CPU's memory afterwards,
  int64_t on_device = 0;  // and in that of the device that computes
  int64_t weights() const { return on_device > 0 ? on_device : on_host; }
};

/// Of the network that `build` returns, built once in a dry run of the current context.
template <class Build>
ModelBytes dry_built(const Build& build) {
  Context context(Context::current().dry_run());
  UseContext use(context);
  const auto network = build();
  ModelBytes bytes;
  bytes.loading = context.memory()->peak_bytes();
  bytes.on_host = context.memory()->live_bytes();
  if (const auto device = context.planned_memory()) bytes.on_device = device->peak_bytes();
  return bytes;
}

/// "204015744 bytes (195 MiB)", rounded up, so that the MiB given as a limit are enough.
std::string in_bytes(int64_t bytes);

/// Of the context that a model is loaded in. Throws Error where none is named, MemoryError for a limit that not even
/// the program fits in.
ContextOptions loading_context(const LoadOptions& options);
/// Throws MemoryError where loading would pass the limit; else asks for the device's memory at once. In that context.
void make_room(const LoadOptions& options, const ModelBytes& bytes);
/// Of a context that runs a loaded model: its CPU level and precision, and the device that it lies on.
ContextOptions running_context(const LoadOptions& options, const ModelBytes& bytes);

}  // namespace sat
