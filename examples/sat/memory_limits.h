// What of this machine's memory a run may have where --max-ram does not say.
#pragma once

#include <cstdint>

#include "sat/nn/run/session.h"

namespace sat::cli {

/// Bytes from which on pending windows go to disk: kSpillAbove, or all that this process may have where that is less.
int64_t spill_above();

/// Throws MemoryError with the figures, and with what sets the limit, for a run that would need more than this process
/// may have. A run with a --max-ram of its own was held against that before.
void check_memory(const SegmentationPlan& plan, int64_t max_ram);

}  // namespace sat::cli
