// Room for large intermediate results on disk in place of memory.
// Knows bytes only; the file is gone afterwards. Results that stay are written with AtomicFile (file.h).
#pragma once

#include <cstdint>
#include <string>

namespace sat {

/// Bytes of a nameless file, mapped for reading and writing: the system can move them out when memory is short, and
/// they vanish with this object or with the process, however it ends.
class MappedScratch {
 public:
  /// All bytes are 0 at first. Throws Error when the file system of `folder` has no room for them.
  MappedScratch(const std::string& folder, int64_t bytes);
  ~MappedScratch();
  MappedScratch(MappedScratch&& other) noexcept;
  MappedScratch& operator=(MappedScratch&& other) noexcept;
  MappedScratch(const MappedScratch&) = delete;
  MappedScratch& operator=(const MappedScratch&) = delete;

  uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace sat
