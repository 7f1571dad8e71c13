// A scratch file seen as memory.
#include "sat/io/files/mapped_scratch.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "sat/io/files/posix.h"
#include "sat/io/files/scratch_file.h"
#include "sat/tensor/error.h"

namespace sat {

MappedScratch::MappedScratch(const std::string& folder, int64_t bytes) : size_(bytes) {
  const ScratchFile file(folder, bytes);
  void* address = ::mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor(), 0);
  SAT_CHECK(address != MAP_FAILED, "cannot map a scratch file of ", bytes, " bytes in ", folder, ": ",
            system_reason(errno));
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
