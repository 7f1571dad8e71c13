// First fit with coalescing, chunk by chunk.
#include "sat/tensor/memory/block_allocator.h"

#include <algorithm>
#include <utility>

namespace sat {

namespace {

constexpr int64_t kAlignment = 512;
constexpr int64_t kEndless = int64_t(1) << 46;         // of a dry chunk
constexpr int64_t kUnplannedChunk = int64_t(8) << 20;  // least that is taken for a request without a plan

int64_t aligned(int64_t bytes) {
  SAT_CHECK(bytes >= 0 && bytes <= kEndless, "allocation of ", bytes, " bytes");
  return std::max<int64_t>(1, (bytes + kAlignment - 1) / kAlignment) * kAlignment;
}

}  // namespace

BlockAllocator::BlockAllocator(Source source, int64_t max_bytes)
    : Memory(max_bytes, false), source_(std::move(source)) {}

BlockAllocator::BlockAllocator(int64_t max_bytes) : Memory(max_bytes, true) {}

BlockAllocator::~BlockAllocator() {
  for (const Chunk& chunk : chunks_) {
    if (!dry()) source_.give(chunk.base);
  }
}

int64_t BlockAllocator::held() const {
  int64_t bytes = 0;
  for (const Chunk& chunk : chunks_) bytes += dry() ? chunk.peak : chunk.capacity;
  return bytes;
}

BlockAllocator::Chunk& BlockAllocator::add_chunk(int64_t bytes) {
  Chunk chunk;
  chunk.capacity = dry() ? kEndless : bytes;
  if (chunk.capacity > 0) chunk.gaps.emplace(0, chunk.capacity);
  chunks_.reserve(chunks_.size() + 1);  // so that a chunk that was taken is never lost
  if (dry()) {
    // Dry chunks lie far apart, so that an address names its chunk.
    if (!chunks_.empty() && chunks_.back().capacity == kEndless) {
      Chunk& before = chunks_.back();
      before.gaps.erase(before.peak);  // the endless rest begins here or, joined with a gap, before
      if (!before.gaps.empty() && before.gaps.rbegin()->first + before.gaps.rbegin()->second == kEndless) {
        before.gaps.rbegin()->second = before.peak - before.gaps.rbegin()->first;
      }
      before.capacity = before.peak;
    }
    chunk.base = reinterpret_cast<char*>(kVirtualAddress + uintptr_t(kEndless) * chunks_.size());
  } else {
    if (max_bytes() != 0 && bytes > max_bytes() - held()) {
      fail_as<MemoryError>("out of device memory: ", bytes, " more bytes asked for, ", held(), " held, the limit is ",
                           max_bytes());
    }
    chunk.base = static_cast<char*>(source_.take(bytes));
  }
  chunks_.push_back(std::move(chunk));
  peak_ = std::max(peak_, held());
  return chunks_.back();
}

void BlockAllocator::reserve(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (dry() || bytes > 0) add_chunk(dry() ? 0 : aligned(bytes));
}

std::vector<int64_t> BlockAllocator::chunk_peaks() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<int64_t> peaks;
  for (const Chunk& chunk : chunks_) peaks.push_back(chunk.peak);
  return peaks;
}

void BlockAllocator::drop_empty() noexcept {
  while (!chunks_.empty() && chunks_.back().used == 0) {
    if (!dry()) source_.give(chunks_.back().base);
    chunks_.pop_back();
  }
}

void BlockAllocator::trim() {
  std::lock_guard<std::mutex> lock(mutex_);
  drop_empty();
}

void BlockAllocator::seal(bool sealed) {
  std::lock_guard<std::mutex> lock(mutex_);
  sealed_ = sealed;
}

int64_t BlockAllocator::live_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return live_;
}

int64_t BlockAllocator::peak_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::max(peak_, held());
}

void BlockAllocator::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  drop_empty();
  peak_ = held();
}

/// Takes room from the first gap that is wide enough; null where none is.
char* BlockAllocator::place(Chunk& chunk, int64_t size) noexcept {
  for (auto gap = chunk.gaps.begin(); gap != chunk.gaps.end(); ++gap) {
    const auto [offset, room] = *gap;
    if (room < size) continue;
    auto node = chunk.gaps.extract(gap);
    if (room > size) {
      node.key() = offset + size;
      node.mapped() = room - size;
      chunk.gaps.insert(std::move(node));
    } else {
      spare_.insert(std::move(node));
    }
    chunk.used += size;
    ++in_use_;
    chunk.peak = std::max(chunk.peak, offset + size);
    live_ += size;
    return chunk.base + offset;
  }
  return nullptr;
}

void* BlockAllocator::allocate(int64_t bytes) {
  const int64_t size = aligned(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  if (spare_.size() == in_use_) spare_.emplace(0, 0);
  for (Chunk& chunk : chunks_) {
    if (char* block = place(chunk, size)) return block;
  }
  SAT_CHECK(!sealed_, "device memory was planned without room for ", bytes, " more bytes; ", live_, " are in use");
  return place(add_chunk(std::max(size, kUnplannedChunk)), size);
}

void BlockAllocator::deallocate(void* block, int64_t bytes) noexcept {
  const int64_t size = aligned(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  const auto owner = std::find_if(chunks_.begin(), chunks_.end(), [&](const Chunk& chunk) {
    return block >= chunk.base && static_cast<char*>(block) < chunk.base + std::max(chunk.capacity, chunk.peak);
  });
  int64_t first = static_cast<char*>(block) - owner->base, last = first + size;
  auto& gaps = owner->gaps;
  const auto after = gaps.lower_bound(first);
  if (after != gaps.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == first) {
      first = before->first;
      spare_.insert(gaps.extract(before));
    }
  }
  if (after != gaps.end() && after->first == last) {
    last += after->second;
    spare_.insert(gaps.extract(after));
  }
  auto node = spare_.extract(spare_.begin());
  node.key() = first;
  node.mapped() = last - first;
  gaps.insert(std::move(node));
  --in_use_;
  owner->used -= size;
  live_ -= size;
}

}  // namespace sat
