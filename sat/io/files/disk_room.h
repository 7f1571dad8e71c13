// Private. Whether a disk has room for what a run is going to put there, asked before the work and not after it.
// Knows folders and bytes only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sat {

/// Bytes that will lie in a folder.
struct DiskNeed {
  std::string folder;
  int64_t bytes = 0;
  std::string what;  // "features of windows"
};

/// Throws Error, with the figures, when the free space of a file system is less than what will lie at once in the
/// folders on it. Needs of 0 bytes are passed over, and so is a file system that does not say how full it is.
void check_disk_room(const std::vector<DiskNeed>& needs);

}  // namespace sat
