// The file has no name, so no way of ending can leave it behind.
#include "sat/io/files/scratch_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sat/io/files/posix.h"
#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr int64_t kSystemStep = int64_t(1) << 30;  // a system call moves at most 2 GB

/// Calls step(bytes done, bytes at once) until `count` bytes are through; it returns what the system did.
template <class Step>
void in_steps(const char* what, int64_t at, int64_t count, int64_t size, Step step) {
  SAT_CHECK(at >= 0 && count >= 0 && count <= size - at, "scratch file: bytes ", at, " to ", at + count, " of ", size);
  for (int64_t done = 0; done < count;) {
    const ssize_t moved = step(done, size_t(std::min(count - done, kSystemStep)));
    if (moved < 0 && errno == EINTR) continue;
    SAT_CHECK(moved > 0, "scratch file: cannot ", what, " byte ", at + done, ": ",
              moved == 0 ? "it has become shorter" : system_reason(errno));
    done += moved;
  }
}

}  // namespace

ScratchFile::ScratchFile(const std::string& folder, int64_t bytes) : size_(bytes) {
  SAT_CHECK(bytes > 0, "scratch file: ", bytes, " bytes were asked for, needs at least 1");
  // A file that never has a name, where the file system knows such; else one that loses it at once.
  Descriptor file = open_descriptor(folder, O_RDWR | O_TMPFILE, 0600);
  if (!file) {
    std::string name = folder + "/.sat-scratch-XXXXXX";
    file = above_standard(::mkostemp(name.data(), O_CLOEXEC));
    SAT_CHECK(file, "cannot make a scratch file in ", folder, ": ", system_reason(errno));
    ::unlink(name.c_str());
  }
  // Reserved now: a disk that is found full later would have cost the work until then, or a signal where it is mapped.
  int full = EINTR;
  while (full == EINTR) full = ::posix_fallocate(file, 0, off_t(bytes));
  SAT_CHECK(full != ENOSPC, "no room for a scratch file of ", bytes, " bytes in ", folder);
  SAT_CHECK(full == 0, "cannot reserve a scratch file of ", bytes, " bytes in ", folder, ": ", system_reason(full));
  descriptor_ = file.release();
}

ScratchFile::~ScratchFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(std::exchange(other.size_, 0)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

void ScratchFile::write(int64_t at, const void* bytes, int64_t count) {
  in_steps("write", at, count, size_, [&](int64_t done, size_t some) {
    return ::pwrite(descriptor_, static_cast<const char*>(bytes) + done, some, off_t(at + done));
  });
}

void ScratchFile::read(int64_t at, void* bytes, int64_t count) const {
  in_steps("read", at, count, size_, [&](int64_t done, size_t some) {
    return ::pread(descriptor_, static_cast<char*>(bytes) + done, some, off_t(at + done));
  });
}

}  // namespace sat
