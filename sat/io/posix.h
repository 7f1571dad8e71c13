// Private: what every use of the system's files needs: reasons in words, and descriptors that close themselves and stay
// clear of the three standard ones.
#pragma once

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

/// fsync(2), repeated when a signal interrupts it; 0, or -1 with errno set.
int sync_descriptor(int number);

/// A descriptor just made by another call, moved clear of the standard ones in the same way.
Descriptor above_standard(int number);

}  // namespace sat
