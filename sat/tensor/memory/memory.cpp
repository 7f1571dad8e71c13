// The caching allocator.
#include "sat/tensor/memory/memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace sat {

namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kLarge = 2 << 20;  // bytes, from which on a block is pages of the arena

}  // namespace

int64_t CachingAllocator::rounded(int64_t bytes) {
  const int64_t unit = bytes < kLarge ? kAlignment : PageArena::kPage;
  return std::max<int64_t>(1, (bytes + unit - 1) / unit) * unit;
}

CachingAllocator::~CachingAllocator() { keep_nothing(); }

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
  keep_nothing();
  peak_ = live_;
}

void* CachingAllocator::allocate(int64_t bytes) {
  SAT_CHECK(bytes >= 0 && bytes <= INT64_MAX - kLarge, "allocation of ", bytes, " bytes");
  const int64_t size = rounded(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  if (void* block = reused(size)) return block;
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
  void* block = fresh(size);
  live_ += size;
  // Nobody has touched the block's fresh pages yet, so what must go in exchange goes in time.
  keep_at_most(std::min(most, std::max(peak_, live_)) - live_);
  peak_ = std::max(peak_, live_ + kept());
  return block;
}

/// A kept small block of this size; null if there is none.
void* CachingAllocator::reused(int64_t size) {
  const auto found = cached_.find(size);
  if (found == cached_.end()) return nullptr;
  void* block = found->second;
  spare_.insert(cached_.extract(found));
  ++in_use_;
  kept_small_ -= size;
  live_ += size;
  return block;
}

void* CachingAllocator::fresh(int64_t size) {
  if (size >= kLarge) return arena_.take(size);
  if (spare_.size() == in_use_) spare_.emplace(0, nullptr);
  void* block = std::aligned_alloc(kAlignment, size_t(size));
  if (!block) throw std::bad_alloc();
  ++in_use_;
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
  if (size >= kLarge) return arena_.give(block, size);
  kept_small_ += size;
  --in_use_;
  auto node = spare_.extract(spare_.begin());
  node.key() = size;
  node.mapped() = block;
  cached_.insert(std::move(node));
}

void CachingAllocator::keep_nothing() noexcept {
  arena_.unmap();
  keep_at_most(0);
}

/// Large blocks' pages go first.
void CachingAllocator::keep_at_most(int64_t bytes) noexcept {
  if (kept() > bytes) arena_.cool(std::max<int64_t>(0, bytes - kept_small_));
  while (kept() > bytes) {
    const auto largest = std::prev(cached_.end());
    std::free(largest->second);
    kept_small_ -= largest->first;
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
