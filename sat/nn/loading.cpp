// The limits and contexts of loading.
#include "sat/nn/loading.h"

#include "sat/nn/run/plan.h"

namespace sat {

std::string in_bytes(int64_t bytes) {
  return std::to_string(bytes) + " bytes (" + std::to_string((bytes >> 20) + (bytes % (1 << 20) != 0)) + " MiB)";
}

ContextOptions loading_context(const LoadOptions& options) {
  SAT_CHECK(!options.model.empty(), "no model was named");
  if (options.max_ram > 0 && options.max_ram <= kProgramBytes) {
    fail_as<MemoryError>("the memory limit of ", in_bytes(options.max_ram), " is less than the program itself needs, ",
                         in_bytes(kProgramBytes));
  }
  ContextOptions context;
  context.threads = options.threads;
  context.max_bytes = options.max_ram > 0 ? options.max_ram - kProgramBytes : 0;
  context.cpu = options.cpu;
  context.precision = options.precision;
  context.device = options.device;
  context.cancelled = options.cancelled;
  return context;
}

void make_room(const LoadOptions& options, const ModelBytes& bytes) {
  const int64_t needed = bytes.loading + kProgramBytes;
  const int64_t most = options.max_ram > 0 ? options.max_ram : options.machine_bytes;
  if (most > 0 && needed > most) {
    fail_as<MemoryError>(options.model, ": loading this model needs ", in_bytes(needed), " of memory, the limit is ",
                         in_bytes(most));
  }
  if (const auto device = Context::current().planned_memory()) device->reserve(bytes.on_device);
}

ContextOptions running_context(const LoadOptions& options, const ModelBytes& bytes) {
  ContextOptions context;
  context.cpu = options.cpu;
  context.precision = options.precision;
  if (options.device) context.device = device_beside(options.device, bytes.on_device);
  return context;
}

}  // namespace sat
