// Descriptors and the words for what goes wrong with them.
#include "sat/io/posix.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cerrno>

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

Descriptor above_standard(int number) {
  if (number < 0 || number >= kFirstFree) return Descriptor(number);
  const int moved = ::fcntl(number, F_DUPFD_CLOEXEC, kFirstFree);
  const int error = errno;
  ::close(number);
  errno = error;
  return Descriptor(moved);
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

}  // namespace sat
