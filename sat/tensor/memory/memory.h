// Private. Tensor memory: bytes that are counted, live and at their peak, under an optional cap; and the CPU's caching
// allocator. Knows bytes only; Tensor (tensor.h) gives them a shape.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "sat/tensor/error.h"
#include "sat/tensor/memory/page_arena.h"

namespace sat {

/// Where a dry run's bytes would lie: addresses from here on are no process's, and reading one stops the program.
constexpr uintptr_t kVirtualAddress = uintptr_t(1) << 54;

/// Bytes handed out, with what is in use and what was held at most. Thread-safe.
class Memory {
 public:
  explicit Memory(int64_t max_bytes, bool dry) : max_bytes_(max_bytes), dry_(dry) {}
  virtual ~Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  int64_t max_bytes() const { return max_bytes_; }  // the cap, 0 for none
  bool dry() const { return dry_; }                 // counts, and hands out addresses that cannot be read
  virtual int64_t live_bytes() const = 0;           // in use now
  virtual int64_t peak_bytes() const = 0;           // most ever held (in use and kept), which the cap bounds
  virtual void reset_peak() = 0;                    // peak := live; kept blocks are given back

  virtual void* allocate(int64_t bytes) = 0;  // throws MemoryError when the cap would be passed
  /// Never fails: what it keeps books with was made when the block was.
  virtual void deallocate(void* block, int64_t bytes) noexcept = 0;

 private:
  int64_t max_bytes_;
  bool dry_;
};

/// The CPU's memory. What was freed is kept for reuse, but never raises the peak: when a new block would, kept memory
/// goes back to the system first. Small blocks are kept by size, those of 2 MB and more as pages of one arena, which a
/// block of any size may use again. Blocks are 64-byte aligned.
class CachingAllocator : public Memory {
 public:
  explicit CachingAllocator(int64_t max_bytes = 0, bool dry = false) : Memory(max_bytes, dry) {}
  ~CachingAllocator() override;

  int64_t live_bytes() const override;
  int64_t peak_bytes() const override;
  void reset_peak() override;
  void* allocate(int64_t bytes) override;
  void deallocate(void* block, int64_t bytes) noexcept override;

  /// In a dry one: as if blocks of so many bytes together, each rounded(), had come and gone.
  void came_and_went(int64_t bytes);

  static int64_t rounded(int64_t bytes);  // what a request of this size costs

 private:
  void* reused(int64_t size);
  void* fresh(int64_t size);
  void keep_at_most(int64_t bytes) noexcept;
  void keep_nothing() noexcept;
  int64_t kept() const { return kept_small_ + arena_.warm_bytes(); }

  mutable std::mutex mutex_;
  PageArena arena_;
  std::multimap<int64_t, void*> cached_;  // small blocks by rounded size
  std::multimap<int64_t, void*> spare_;   // one node or more for each small block in use: its place in cached_ later on
  size_t in_use_ = 0;                     // small blocks
  int64_t live_ = 0, kept_small_ = 0, peak_ = 0;
};

/// Owns the bytes of one or more tensors: from a Memory, or foreign bytes with a release function (a mapped file).
class Buffer {
 public:
  Buffer(std::shared_ptr<Memory> memory, int64_t bytes);
  Buffer(void* foreign, int64_t bytes, std::function<void()> release);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  bool foreign() const { return memory_ == nullptr; }
  bool readable() const { return !memory_ || !memory_->dry(); }  // false for what a dry run counts

 private:
  void* data_;
  int64_t bytes_;
  std::shared_ptr<Memory> memory_;
  std::function<void()> release_;
};

}  // namespace sat
