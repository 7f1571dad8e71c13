// What the system grants this process: processors and memory, less than the machine has in a container, a batch job or
// under taskset. Reads the system's own files (/proc, /sys/fs/cgroup), never the environment.
#pragma once

#include <cstdint>
#include <string>

namespace sat {

/// Processors that this process may use: those of its affinity mask, and no more than its processor quota, rounded up.
/// At least 1. `root` stands before the paths of the system's files, for tests.
int usable_processors(const std::string& root = "");

/// How many processors' time the control groups of this process (version 1 or 2, their parents included) allow it, for
/// example 1.5; 0 where they set no limit.
double processor_quota(const std::string& root = "");

struct MemoryLimit {
  int64_t bytes = 0;   // 0: unknown
  std::string source;  // the file that says so
};

/// The most memory that this process can come to hold: the least of the machine's and of what its control groups
/// (version 1 or 2, their parents included) allow.
MemoryLimit memory_limit(const std::string& root = "");

}  // namespace sat
