// The system is asked each time: limits of control groups change while a cohort runs.
#include "examples/sat/memory_limits.h"

#include <algorithm>

#include "sat/tensor/memory/machine.h"

namespace sat::cli {

int64_t spill_above() {
  const MemoryLimit limit = memory_limit();
  return limit.bytes > 0 ? std::min(limit.bytes, kSpillAbove) : kSpillAbove;
}

void check_memory(const SegmentationPlan& plan, int64_t max_ram) {
  const MemoryLimit limit = memory_limit();
  if (max_ram > 0 || limit.bytes == 0 || plan.process_bytes <= limit.bytes) return;
  fail_as<MemoryError>("this run needs ", plan.process_bytes, " bytes (", plan.process_bytes >> 20,
                       " MiB) of memory, this process may have ", limit.bytes, " bytes (", limit.bytes >> 20, " MiB, ",
                       limit.source, "); --max-ram sets another limit");
}

}  // namespace sat::cli
