// The file loses its name as soon as it is open, so no way of ending can leave it behind.
#include "sat/io/mapped_scratch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sat/tensor/error.h"

namespace sat {

MappedScratch::MappedScratch(const std::string& folder, int64_t bytes) : size_(bytes) {
  SAT_CHECK(bytes > 0, "scratch file: ", bytes, " bytes were asked for, needs at least 1");
  std::string name = folder + "/.sat-scratch-XXXXXX";
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  SAT_CHECK(descriptor >= 0, "cannot make a scratch file in ", folder, ": system error ", errno);
  ::unlink(name.c_str());
  // Reserved now: a page that finds the disk full later would be a signal, not an error.
  const int full = ::posix_fallocate(descriptor, 0, off_t(bytes));
  void* address =
      full == 0 ? ::mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  ::close(descriptor);
  SAT_CHECK(full != ENOSPC, "no room for a scratch file of ", bytes, " bytes in ", folder);
  SAT_CHECK(full == 0, "cannot reserve a scratch file of ", bytes, " bytes in ", folder, ": system error ", full);
  SAT_CHECK(address != MAP_FAILED, "cannot map a scratch file of ", bytes, " bytes in ", folder);
  data_ = static_cast<uint8_t*>(address);
}

MappedScratch::~MappedScratch() {
  if (data_) ::munmap(data_, size_t(size_));
}

MappedScratch::MappedScratch(MappedScratch&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedScratch& MappedScratch::operator=(MappedScratch&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace sat
