// Private: what every use of the system's files needs: reasons in words, and descriptors that close themselves and stay
// clear of the three standard ones.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace sat {

/// The system's reason for an errno in English, whatever the process's locale, with its name: "no space left on the
/// device (ENOSPC)".
std::string system_reason(int error);

/// A file descriptor, closed on the way out; -1 for none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  operator int() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

/// open(2), repeated when a signal interrupts it, always close-on-exec, and never 0, 1 or 2: in a process that was
/// started without its standard streams, what is printed must not land in a file. None, with errno set, where it fails.
Descriptor open_descriptor(const std::string& path, int flags, int mode = 0666);

/// The outcome of asking for an advisory lock. Some network file systems have none: `unsupported`.
enum class Lock : uint8_t { held, busy, unsupported };

/// An exclusive flock(2), which the system lets go of with the descriptor, however the process ends. `busy` where
/// another one holds it; with `wait` it waits for that one instead. Throws Error, naming `path`, for any other failure.
Lock lock_descriptor(int descriptor, const std::string& path, bool wait = false);
/// fsync(2), repeated when a signal interrupts it; 0, or -1 with errno set.
int sync_descriptor(int number);

/// A descriptor just made by another call, moved clear of the standard ones in the same way.
Descriptor above_standard(int number);

/// Makes the names in a folder durable. Some file systems cannot, and some folders may be written but not read: these
/// are as safe as they get. Throws Error where the device fails.
void sync_folder(const std::string& path);
/// Throws Error for a name that the system cannot take: an empty one, or one that goes on after a zero byte.
void check_path(const std::string& path);

/// Opens a regular file for reading and tells its size in bytes; anything else at the path throws Error.
Descriptor open_regular(const std::string& path, int64_t& size);

}  // namespace sat
