// A device's arena: a rehearsal learns what the real one needs, and limits are kept.
#include <doctest/doctest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "sat/tensor/memory/block_allocator.h"

using namespace sat;

namespace {

/// Chunks from the host, counted.
struct Host {
  int64_t held = 0, taken = 0;
  std::map<void*, int64_t> sizes;

  BlockAllocator::Source source() {
    return {[this](int64_t bytes) {
              void* block = std::malloc(size_t(bytes));
              sizes[block] = bytes;
              held += bytes;
              ++taken;
              return block;
            },
            [this](void* block) {
              held -= sizes.at(block);
              sizes.erase(block);
              std::free(block);
            }};
  }
};

/// A model of 40 blocks, then random comings and goings; everything of the second part is gone at the end.
void some_run(BlockAllocator& arena, const std::function<void()>& between) {
  std::mt19937 random(7);
  std::vector<std::pair<void*, int64_t>> model, alive;
  for (int i = 0; i < 40; ++i) {
    const int64_t bytes = 1 + int64_t(random() % 5000);
    model.emplace_back(arena.allocate(bytes), bytes);
  }
  between();
  for (int i = 0; i < 2000; ++i) {
    if (alive.size() > 30 || (!alive.empty() && random() % 2 == 0)) {
      const size_t which = random() % alive.size();
      arena.deallocate(alive[which].first, alive[which].second);
      alive.erase(alive.begin() + int64_t(which));
    } else {
      const int64_t bytes = int64_t(random() % 20000);
      alive.emplace_back(arena.allocate(bytes), bytes);
    }
  }
  for (const auto& [block, bytes] : alive) arena.deallocate(block, bytes);
  for (const auto& [block, bytes] : model) arena.deallocate(block, bytes);
}

}  // namespace

TEST_CASE("arena: what a rehearsal needs is exactly what a real run needs") {
  BlockAllocator dry;
  dry.reserve(0);
  some_run(dry, [&] { dry.reserve(0); });
  const std::vector<int64_t> peaks = dry.chunk_peaks();
  REQUIRE(peaks.size() == 2);

  Host host;
  {
    BlockAllocator real(host.source());
    real.reserve(peaks[0]);
    some_run(real, [&] {
      real.reserve(peaks[1]);
      real.seal(true);
    });
    CHECK(host.taken == 2);
    CHECK(real.peak_bytes() == peaks[0] + peaks[1]);
    CHECK(real.chunk_peaks() == peaks);
    CHECK(real.live_bytes() == 0);
  }
  CHECK(host.held == 0);
}

TEST_CASE("arena: a sealed one refuses what was not planned, an open one takes a chunk for it") {
  Host host;
  BlockAllocator arena(host.source());
  arena.reserve(4096);
  void* const first = arena.allocate(4000);
  arena.seal(true);
  CHECK_THROWS_WITH_AS(arena.allocate(1), doctest::Contains("planned without room"), Error);
  arena.seal(false);
  void* const second = arena.allocate(1);
  CHECK(host.taken == 2);
  arena.deallocate(first, 4000);
  arena.deallocate(second, 1);
  arena.trim();
  CHECK(host.held == 0);
}

TEST_CASE("arena: the cap holds for all chunks together") {
  Host host;
  BlockAllocator arena(host.source(), 1 << 20);
  arena.reserve(1 << 19);
  CHECK_THROWS_WITH_AS(arena.reserve((1 << 19) + 512), doctest::Contains("the limit is 1048576"), Error);
  CHECK_NOTHROW(arena.reserve(1 << 19));
}

TEST_CASE("arena: blocks that live at once do not overlap, and neighbours that die join") {
  Host host;
  BlockAllocator arena(host.source());
  arena.reserve(10 * 512);
  std::vector<char*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(static_cast<char*>(arena.allocate(512)));
  for (int i = 1; i < 10; ++i) CHECK(blocks[size_t(i)] - blocks[size_t(i - 1)] == 512);
  for (int i : {3, 5, 4}) arena.deallocate(blocks[size_t(i)], 512);
  CHECK(arena.allocate(3 * 512) == blocks[3]);
  CHECK(arena.live_bytes() == 10 * 512);
  CHECK(host.taken == 1);
}
