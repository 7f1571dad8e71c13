// Reading by pread(2).
#include "sat/io/files/open_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sat/io/files/posix.h"

namespace sat {

namespace {

constexpr int64_t kSystemStep = 1 << 25;  // of a system call, so that a signal is not long unanswered

}  // namespace

OpenFile::OpenFile(const std::string& path)
    : path_(path), descriptor_(std::make_unique<Descriptor>(open_regular(path, size_))) {
  SAT_CHECK(size_ > 0, "cannot read ", path, ": it is empty");
}

OpenFile::~OpenFile() = default;

void OpenFile::read(int64_t at, void* out, int64_t count) const {
  SAT_CHECK(at >= 0 && count >= 0 && at <= size_ && count <= size_ - at, path_, ": ", count, " bytes at byte ", at,
            " lie outside the file, which has ", size_);
  char* to = static_cast<char*>(out);
  while (count > 0) {
    const auto got = int64_t(::pread(*descriptor_, to, size_t(std::min(count, kSystemStep)), off_t(at)));
    if (got < 0 && errno == EINTR) continue;
    SAT_CHECK(got >= 0, "cannot read ", path_, ": ", system_reason(errno));
    SAT_CHECK(got > 0, path_, ": was shortened while it was in use: it had ", size_,
              " bytes, and none is left at byte ", at);
    to += got;
    at += got;
    count -= got;
  }
}

std::string OpenFile::text(int64_t at, int64_t count) const {
  SAT_CHECK(at >= 0 && count >= 0 && at <= size_ && count <= size_ - at, path_, ": ", count, " bytes at byte ", at,
            " lie outside the file, which has ", size_);
  std::string bytes(size_t(count), '\0');
  read(at, bytes.data(), count);
  return bytes;
}

}  // namespace sat
