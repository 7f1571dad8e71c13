// A device's block allocator: a dry run learns what the real one needs, and limits are kept.
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
void some_run(BlockAllocator& allocator, const std::function<void()>& between) {
  std::mt19937 random(7);
  std::vector<std::pair<void*, int64_t>> model, alive;
  for (int i = 0; i < 40; ++i) {
    const int64_t bytes = 1 + int64_t(random() % 5000);
    model.emplace_back(allocator.allocate(bytes), bytes);
  }
  between();
  for (int i = 0; i < 2000; ++i) {
    if (alive.size() > 30 || (!alive.empty() && random() % 2 == 0)) {
      const size_t which = random() % alive.size();
      allocator.deallocate(alive[which].first, alive[which].second);
      alive.erase(alive.begin() + int64_t(which));
    } else {
      const int64_t bytes = int64_t(random() % 20000);
      alive.emplace_back(allocator.allocate(bytes), bytes);
    }
  }
  for (const auto& [block, bytes] : alive) allocator.deallocate(block, bytes);
  for (const auto& [block, bytes] : model) allocator.deallocate(block, bytes);
}

}  // namespace

TEST_CASE("block allocator: what a dry run needs is exactly what a real run needs") {
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

TEST_CASE("block allocator: a sealed one refuses what was not planned, an open one takes a chunk for it") {
  Host host;
  BlockAllocator allocator(host.source());
  allocator.reserve(4096);
  void* const first = allocator.allocate(4000);
  allocator.seal(true);
  CHECK_THROWS_WITH_AS(allocator.allocate(1), doctest::Contains("planned without room"), Error);
  allocator.seal(false);
  void* const second = allocator.allocate(1);
  CHECK(host.taken == 2);
  allocator.deallocate(first, 4000);
  allocator.deallocate(second, 1);
  allocator.trim();
  CHECK(host.held == 0);
}

TEST_CASE("block allocator: the cap holds for all chunks together") {
  Host host;
  BlockAllocator allocator(host.source(), 1 << 20);
  allocator.reserve(1 << 19);
  CHECK_THROWS_WITH_AS(allocator.reserve((1 << 19) + 512), doctest::Contains("the limit is 1048576"), Error);
  CHECK_NOTHROW(allocator.reserve(1 << 19));
}

TEST_CASE("block allocator: blocks that live at once do not overlap, and neighbours that die join") {
  Host host;
  BlockAllocator allocator(host.source());
  allocator.reserve(10 * 512);
  std::vector<char*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(static_cast<char*>(allocator.allocate(512)));
  for (int i = 1; i < 10; ++i) CHECK(blocks[size_t(i)] - blocks[size_t(i - 1)] == 512);
  for (int i : {3, 5, 4}) allocator.deallocate(blocks[size_t(i)], 512);
  CHECK(allocator.allocate(3 * 512) == blocks[3]);
  CHECK(allocator.live_bytes() == 10 * 512);
  CHECK(host.taken == 1);
}
