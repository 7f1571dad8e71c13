// The CPU's arena: blocks lie apart, pages that hold memory are used again, and what is given back is gone.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "sat/tensor/memory/memory.h"
#include "sat/tensor/memory/page_arena.h"

using namespace sat;

namespace {

constexpr int64_t kBlock = 3 << 20;

struct Taken {
  char* at;
  int64_t bytes;
  char mark;
};

}  // namespace

TEST_CASE("arena: blocks never overlap, whatever comes and goes") {
  PageArena arena;
  std::mt19937 random(3);
  std::vector<Taken> alive;
  int wrong = 0;
  for (int i = 0; i < 600; ++i) {
    if (alive.size() > 12 || (!alive.empty() && random() % 2 == 0)) {
      const size_t which = random() % alive.size();
      const Taken taken = alive[which];
      wrong += taken.at[0] != taken.mark ||
               taken.at[taken.bytes / 2 / PageArena::kPage * PageArena::kPage] != taken.mark ||
               taken.at[taken.bytes - 1] != taken.mark;
      arena.give(taken.at, taken.bytes);
      alive.erase(alive.begin() + int64_t(which));
    } else {
      const int64_t bytes = (1 + int64_t(random() % 80)) * PageArena::kPage;
      const Taken taken{static_cast<char*>(arena.take(bytes)), bytes, char(i)};
      for (int64_t at = 0; at < bytes; at += PageArena::kPage) taken.at[at] = taken.mark;
      taken.at[bytes - 1] = taken.mark;
      alive.push_back(taken);
    }
    if (i % 50 == 0) arena.cool(20 * PageArena::kPage);
    if (i % 170 == 0) arena.unmap();
  }
  for (const Taken& taken : alive) arena.give(taken.at, taken.bytes);
  CHECK(wrong == 0);
}

TEST_CASE("arena: a block takes warm pages of any shape before fresh ones") {
  PageArena arena;
  void* const first = arena.take(kBlock);
  void* const second = arena.take(2 * kBlock);
  arena.give(first, kBlock);
  arena.give(second, 2 * kBlock);
  CHECK(arena.warm_bytes() == 3 * kBlock);
  void* const whole = arena.take(3 * kBlock);
  CHECK(arena.warm_bytes() == 0);
  arena.give(whole, 3 * kBlock);
  void* const larger = arena.take(4 * kBlock);  // what is missing is added beside them
  CHECK(arena.warm_bytes() == 0);
  arena.give(larger, 4 * kBlock);
}

TEST_CASE("arena: the shortest warm gap is taken, so that long ones stay") {
  PageArena arena;
  std::vector<void*> blocks;
  for (int64_t pages : {40, 5, 80, 5, 50}) blocks.push_back(arena.take(pages * PageArena::kPage));
  arena.give(blocks[0], 40 * PageArena::kPage);
  arena.give(blocks[2], 80 * PageArena::kPage);
  arena.give(blocks[4], 50 * PageArena::kPage);
  void* const small = arena.take(40 * PageArena::kPage);
  void* const long_one = arena.take(80 * PageArena::kPage);
  CHECK(arena.warm_bytes() == 50 * PageArena::kPage);
  arena.give(small, 40 * PageArena::kPage);
  arena.give(long_one, 80 * PageArena::kPage);
  arena.give(blocks[1], 5 * PageArena::kPage);
  arena.give(blocks[3], 5 * PageArena::kPage);
}

TEST_CASE("arena: memory that was given back reads as zeros, what stayed warm does not") {
  PageArena arena;
  auto* block = static_cast<char*>(arena.take(4 * kBlock));
  std::memset(block, 7, size_t(4 * kBlock));
  arena.give(block, 4 * kBlock);
  arena.cool(kBlock);
  CHECK(arena.warm_bytes() <= kBlock);
  CHECK(arena.warm_bytes() > kBlock - (2 << 20));  // huge pages go whole
  const int64_t warm = arena.warm_bytes();
  block = static_cast<char*>(arena.take(4 * kBlock));
  int64_t kept = 0;
  for (int64_t i = 0; i < 4 * kBlock; ++i) kept += block[i] == 7;
  CHECK(kept == warm);
  arena.give(block, 4 * kBlock);
}

TEST_CASE("the CPU's memory never keeps more than its peak, and repeats a run without fresh pages") {
  CachingAllocator memory;
  const auto run = [&] {  // sizes that never repeat one another, as the levels of a U-Net
    void* a = memory.allocate(8 * kBlock);
    void* b = memory.allocate(2 * kBlock);
    memory.deallocate(a, 8 * kBlock);
    void* c = memory.allocate(5 * kBlock);
    void* d = memory.allocate(3 * kBlock);
    std::memset(c, 1, size_t(5 * kBlock));
    std::memset(d, 1, size_t(3 * kBlock));
    int64_t fresh = 0;
    memory.deallocate(b, 2 * kBlock);
    memory.deallocate(c, 5 * kBlock);
    a = memory.allocate(7 * kBlock);
    for (int64_t i = 0; i < 7 * kBlock; i += PageArena::kPage) fresh += static_cast<char*>(a)[i] != 1;
    memory.deallocate(a, 7 * kBlock);
    memory.deallocate(d, 3 * kBlock);
    return fresh;
  };
  run();
  CHECK(memory.peak_bytes() == 10 * kBlock);
  CHECK(memory.live_bytes() == 0);
  CHECK(run() * PageArena::kPage <= 2 * kBlock);  // only b's, which nobody wrote to
  CHECK(memory.peak_bytes() == 10 * kBlock);
}
