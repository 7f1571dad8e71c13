// Tensor memory: a caching allocator that counts live and peak bytes and obeys an optional cap.
// Knows bytes only; Tensor (tensor.h) gives them a shape.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "sat/tensor/error.h"

namespace sat {

/// Bytes handed out by one context. Freed blocks are kept for reuse, but a kept block never raises the peak: when a
/// new block would, kept blocks go back to the system first. Blocks are 64-byte aligned; those of 2 MB and more sit on
/// huge pages where the system offers them. A dry one counts and hands out addresses that must not be used.
/// Thread-safe.
class Memory {
 public:
  explicit Memory(int64_t max_bytes = 0, bool dry = false) : max_bytes_(max_bytes), dry_(dry) {}
  virtual ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  virtual int64_t live_bytes() const;  // in use now
  virtual int64_t peak_bytes() const;  // most ever held (in use and kept), which the cap bounds
  int64_t max_bytes() const;           // the cap, 0 for none
  virtual void reset_peak();           // peak := live; kept blocks are given back

  virtual void* allocate(int64_t bytes);  // throws MemoryError when the cap would be passed
  /// Never fails: what it keeps books with was made when the block was.
  virtual void deallocate(void* block, int64_t bytes) noexcept;

  /// In a dry one: as if blocks of so many bytes together, each rounded(), had come and gone.
  void came_and_went(int64_t bytes);

  static int64_t rounded(int64_t bytes);  // what a request of this size costs

 private:
  void release_until(int64_t target_cached) noexcept;

  mutable std::mutex mutex_;
  std::multimap<int64_t, void*> cached_;  // by rounded size
  std::multimap<int64_t, void*> spare_;   // one node or more for each block in use: its place in cached_ later on
  size_t in_use_ = 0;                     // blocks
  int64_t live_ = 0, kept_ = 0, peak_ = 0, max_bytes_ = 0;
  bool dry_ = false;
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

 private:
  void* data_;
  int64_t bytes_;
  std::shared_ptr<Memory> memory_;
  std::function<void()> release_;
};

}  // namespace sat
