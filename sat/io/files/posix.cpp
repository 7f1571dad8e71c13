// Descriptors and the words for what goes wrong with them.
#include "sat/io/files/posix.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sat/tensor/error.h"

namespace sat {

namespace {

constexpr int kFirstFree = 3;

const char* words_for(int error) {
  switch (error) {
    case ENOENT: return "no such file or folder";
    case ENOTDIR: return "a part of the path is not a folder";
    case EISDIR: return "it is a folder";
    case EACCES:
    case EPERM: return "permission denied";
    case EROFS: return "the file system is read-only";
    case ENOSPC: return "no space left on the device";
    case EDQUOT: return "the disk quota is used up";
    case EFBIG: return "the file would be larger than the system allows";
    case ENAMETOOLONG: return "the name is too long";
    case ELOOP: return "too many symbolic links";
    case EMFILE:
    case ENFILE: return "too many files are open";
    case EIO: return "the device reported an input/output error";
    case EPIPE: return "nobody reads it any more";
    case EBADF: return "it is closed";
    case ENOMEM: return "out of memory";
    default: return nullptr;
  }
}

}  // namespace

std::string system_reason(int error) {
  const char* words = words_for(error);
  const char* name = ::strerrorname_np(error);
  if (!name) return "system error " + std::to_string(error);
  if (!words) words = ::strerrordesc_np(error);  // never translated
  return std::string(words ? words : "system error") + " (" + name + ")";
}

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

void sync_folder(const std::string& path) {
  const Descriptor folder = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  SAT_CHECK(folder || errno == EACCES, "cannot open the folder ", path, ": ", system_reason(errno));
  const bool synced = !folder || sync_descriptor(folder) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EBADF;
  SAT_CHECK(synced, "cannot make the folder ", path, " durable: ", system_reason(errno));
}

Descriptor above_standard(int number) {
  if (number < 0 || number >= kFirstFree) return Descriptor(number);
  const int moved = ::fcntl(number, F_DUPFD_CLOEXEC, kFirstFree);
  const int error = errno;
  ::close(number);
  errno = error;
  return Descriptor(moved);
}

Lock lock_descriptor(int descriptor, const std::string& path, bool wait) {
  for (;;) {
    if (::flock(descriptor, wait ? LOCK_EX : LOCK_EX | LOCK_NB) == 0) return Lock::held;
    switch (errno) {
      case EINTR: continue;
      case EWOULDBLOCK: return Lock::busy;
      case ENOSYS:
      case EOPNOTSUPP:
      case ENOLCK:
      case EINVAL: return Lock::unsupported;
      default: fail("cannot lock ", path, ": ", system_reason(errno));
    }
  }
}

int sync_descriptor(int number) {
  int result = ::fsync(number);
  while (result != 0 && errno == EINTR) result = ::fsync(number);
  return result;
}

Descriptor open_descriptor(const std::string& path, int flags, int mode) {
  for (;;) {
    const int number = ::open(path.c_str(), flags | O_CLOEXEC, mode_t(mode));
    if (number >= 0 || errno != EINTR) return above_standard(number);
  }
}

void check_path(const std::string& path) {
  SAT_CHECK(!path.empty(), "a file name is empty");
  SAT_CHECK(path.find('\0') == std::string::npos, "the file name '", path.c_str(), "' goes on after a zero byte");
}

Descriptor open_regular(const std::string& path, int64_t& size) {
  check_path(path);
  // Without O_NONBLOCK a pipe would wait here for a writer.
  Descriptor file = open_descriptor(path, O_RDONLY | O_NONBLOCK);
  SAT_CHECK(file, "cannot open ", path, ": ", system_reason(errno));
  struct stat status {};
  SAT_CHECK(::fstat(file, &status) == 0, "cannot open ", path, ": ", system_reason(errno));
  if (S_ISREG(status.st_mode)) {
    size = int64_t(status.st_size);
    return file;
  }
  fail("cannot read ", path, ": it is ", S_ISDIR(status.st_mode) ? "a folder" : "not a regular file");
}

}  // namespace sat
