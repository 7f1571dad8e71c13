// Private: address space in which large blocks find room, and which of its free pages still hold memory. A page that
// held memory once costs nothing to use again; a fresh one the system must clear first.
#pragma once

#include <cstdint>
#include <vector>

namespace sat {

/// Blocks of whole pages side by side, on huge pages where the system offers them. Free pages are warm, with memory
/// behind them, or cold, addresses only. A block goes where most warm pages are, in the shortest such gap. Not
/// thread-safe.
class PageArena {
 public:
  static constexpr int64_t kPage = 1 << 16;  // as large as any system's

  PageArena() = default;
  ~PageArena() { unmap(); }
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;

  /// A block of so many bytes, a multiple of kPage. Throws std::bad_alloc where the system has no addresses left.
  void* take(int64_t bytes);
  /// The pages of a block, warm from now on.
  void give(void* block, int64_t bytes) noexcept;

  int64_t warm_bytes() const { return warm_; }
  /// Gives memory back to the system until no more than `most` bytes are warm.
  void cool(int64_t most) noexcept;
  /// Gives everything that is free back, addresses too.
  void unmap() noexcept;

 private:
  struct Span {
    char* first;
    int64_t bytes;
    bool warm;
    char* last() const { return first + bytes; }
  };
  struct Place {
    char* at = nullptr;
    int64_t warm = -1, run = 0;  // warm bytes under the block, bytes of the gap
  };
  Place best_place(int64_t bytes) const;
  void map(int64_t bytes);
  void carve(char* first, int64_t bytes) noexcept;
  void insert(Span span) noexcept;

  std::vector<Span> free_;  // by address; neighbours of one kind are one
  int64_t in_use_ = 0;      // blocks
  int64_t warm_ = 0;
};

}  // namespace sat
