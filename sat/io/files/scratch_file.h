// Private. Room on disk for large intermediate results that are written and read piece by piece.
// Knows bytes only; the file is gone afterwards. mapped_scratch.h is the same as an array.
#pragma once

#include <cstdint>
#include <string>

namespace sat {

/// A nameless file: it vanishes with this object or with the process, however it ends.
class ScratchFile {
 public:
  /// All bytes are 0 at first. Throws Error when the file system of `folder` has no room for them.
  ScratchFile(const std::string& folder, int64_t bytes);
  ~ScratchFile();
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  int64_t size() const { return size_; }
  int descriptor() const { return descriptor_; }

  /// `count` bytes from byte `at` on. Throws Error when they leave the file or the device fails.
  void write(int64_t at, const void* bytes, int64_t count);
  void read(int64_t at, void* bytes, int64_t count) const;

 private:
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace sat
