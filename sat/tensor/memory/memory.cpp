// The caching allocator.
#include "sat/tensor/memory/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace sat {

namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = 2 << 20;

/// Blocks of at least a huge page are mapped, so that giving one back really lowers the process's memory.
void* system_allocate(int64_t bytes) {
  if (bytes < kHugePage) {
    void* block = std::aligned_alloc(kAlignment, size_t(bytes));
    if (!block) throw std::bad_alloc();
    return block;
  }
  void* block = mmap(nullptr, size_t(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw std::bad_alloc();
  madvise(block, size_t(bytes), MADV_HUGEPAGE);
  return block;
}

void system_free(void* block, int64_t bytes) {
  if (bytes < kHugePage) {
    std::free(block);
  } else {
    munmap(block, size_t(bytes));
  }
}

}  // namespace

int64_t CachingAllocator::rounded(int64_t bytes) {
  const int64_t unit = bytes < kHugePage ? kAlignment : 4096;
  return std::max<int64_t>(1, (bytes + unit - 1) / unit) * unit;
}

CachingAllocator::~CachingAllocator() { release_until(0); }

int64_t CachingAllocator::live_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return live_;
}

int64_t CachingAllocator::peak_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return peak_;
}

void CachingAllocator::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  release_until(0);
  peak_ = live_;
}

void* CachingAllocator::allocate(int64_t bytes) {
  SAT_CHECK(bytes >= 0 && bytes <= INT64_MAX - kHugePage, "allocation of ", bytes, " bytes");
  const int64_t size = rounded(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  if (const auto found = cached_.find(size); found != cached_.end()) {
    void* block = found->second;
    spare_.insert(cached_.extract(found));
    ++in_use_;
    kept_ -= size;
    live_ += size;
    return block;
  }
  if (dry()) {
    live_ += size;
    peak_ = std::max(peak_, live_);
    return reinterpret_cast<void*>(kVirtualAddress);
  }
  const int64_t most = max_bytes() > 0 ? max_bytes() : INT64_MAX;
  if (size > most - live_) {
    fail_as<MemoryError>("out of tensor memory: ", size, " more bytes asked for, ", live_, " in use, the cap is ",
                         max_bytes());
  }
  release_until(std::max<int64_t>(0, std::min(most, std::max(peak_, live_ + size)) - live_ - size));
  if (spare_.size() == in_use_) spare_.emplace(0, nullptr);
  void* block = system_allocate(size);
  ++in_use_;
  live_ += size;
  peak_ = std::max(peak_, live_ + kept_);
  return block;
}

void CachingAllocator::came_and_went(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  peak_ = std::max(peak_, live_ + bytes);
}

void CachingAllocator::deallocate(void* block, int64_t bytes) noexcept {
  const int64_t size = rounded(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  live_ -= size;
  if (dry()) return;
  kept_ += size;
  --in_use_;
  auto node = spare_.extract(spare_.begin());
  node.key() = size;
  node.mapped() = block;
  cached_.insert(std::move(node));
}

void CachingAllocator::release_until(int64_t target_cached) noexcept {
  while (kept_ > target_cached) {
    const auto largest = std::prev(cached_.end());
    system_free(largest->second, largest->first);
    kept_ -= largest->first;
    cached_.erase(largest);
  }
}

Buffer::Buffer(std::shared_ptr<Memory> memory, int64_t bytes)
    : data_(memory->allocate(bytes)), bytes_(bytes), memory_(std::move(memory)) {}

Buffer::Buffer(void* foreign, int64_t bytes, std::function<void()> release)
    : data_(foreign), bytes_(bytes), release_(std::move(release)) {}

Buffer::~Buffer() {
  if (memory_) memory_->deallocate(data_, bytes_);
  if (release_) release_();
}

}  // namespace sat
