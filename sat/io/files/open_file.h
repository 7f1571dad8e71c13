// Private. A regular file read piece by piece, at any place, without being mapped: where another process shortens it,
// the next read throws Error, and no signal comes. Knows bytes only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sat/tensor/error.h"

namespace sat {

class Descriptor;

/// An open file. Missing, empty and unreadable files, folders, pipes and devices throw Error.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int64_t size() const { return size_; }  // when it was opened
  const std::string& path() const { return path_; }

  /// Reads exactly `count` bytes from byte `at` on; several threads may read at once. Throws Error where they are not
  /// there, or no longer.
  void read(int64_t at, void* out, int64_t count) const;
  std::string text(int64_t at, int64_t count) const;  // the same as a text

 private:
  std::string path_;
  int64_t size_ = 0;
  std::unique_ptr<Descriptor> descriptor_;
};

}  // namespace sat
