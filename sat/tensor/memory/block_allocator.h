// Private: a device's tensor memory: few large chunks, each asked for once, in which tensors find room by first fit.
// Knows addresses only; where chunks come from is said by whoever makes one (sat/cuda).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "sat/tensor/memory/memory.h"

namespace sat {

/// Places depend on the order of requests alone, so a dry block allocator, whose chunks have no end, learns exactly
/// what a real one will need: a dry run, reserve chunk_peaks(), the run. Blocks are 512-byte aligned. Thread-safe.
class BlockAllocator : public Memory {
 public:
  struct Source {
    std::function<void*(int64_t bytes)> take;  // throws Error where there is no room
    std::function<void(void*)> give;
  };
  /// A real one. max_bytes caps the chunks together; 0: no cap.
  explicit BlockAllocator(Source source, int64_t max_bytes = 0);
  /// A dry one: hands out addresses that cannot be read, and only remembers the cap.
  explicit BlockAllocator(int64_t max_bytes = 0);
  ~BlockAllocator() override;

  /// Opens a chunk of this size for what comes next, or, in a dry block allocator, one without end; an earlier dry
  /// chunk keeps the size that it has needed. Tensors go on using gaps in earlier chunks first. Throws Error beyond the
  /// cap.
  void reserve(int64_t bytes);
  /// What each chunk holds at most: what to reserve, in order.
  std::vector<int64_t> chunk_peaks() const;
  /// Gives back chunks in which nothing lives.
  void trim();
  /// While sealed, a request that no chunk has room for is an error; otherwise a chunk is taken for it.
  void seal(bool sealed);

  int64_t live_bytes() const override;
  int64_t peak_bytes() const override;  // of all chunks together, gaps included
  void reset_peak() override;           // as trim()
  void* allocate(int64_t bytes) override;
  void deallocate(void* block, int64_t bytes) noexcept override;

 private:
  struct Chunk {
    char* base = nullptr;
    int64_t capacity = 0, peak = 0;
    std::map<int64_t, int64_t> gaps;  // offset -> size, never adjacent
    int64_t used = 0;
  };
  char* place(Chunk& chunk, int64_t size) noexcept;
  Chunk& add_chunk(int64_t bytes);
  int64_t held() const;
  void drop_empty() noexcept;

  mutable std::mutex mutex_;
  Source source_;
  std::vector<Chunk> chunks_;
  std::multimap<int64_t, int64_t> spare_;  // one node or more for each block in use, which may leave a gap
  size_t in_use_ = 0;                      // blocks
  int64_t live_ = 0, peak_ = 0;
  bool sealed_ = false;
};

}  // namespace sat
