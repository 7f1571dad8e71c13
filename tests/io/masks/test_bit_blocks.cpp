// Blocks of bits are turned, and bits at any place are read, set and counted, as one by one.
#include "sat/io/masks/bit_blocks.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "sat/io/masks/bit_masks.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

uint64_t next_word(uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state ^ state << 29 ^ state >> 31;
}

TEST_CASE("a turned block has rows for columns") {
  uint64_t state = 3;
  std::array<uint64_t, 64> block{}, turned{};
  for (uint64_t& word : block) word = next_word(state);
  turned = block;
  transpose_bits(turned.data());
  int wrong = 0;
  for (size_t i = 0; i < 64; ++i) {
    for (size_t j = 0; j < 64; ++j) wrong += (block[i] >> j & 1) != (turned[j] >> i & 1);
  }
  CHECK(wrong == 0);
}

TEST_CASE("bits at any place of a row") {
  uint64_t state = 5;
  std::array<uint64_t, 3> words{};
  for (uint64_t& word : words) word = next_word(state);
  const auto* row = reinterpret_cast<const uint8_t*>(words.data());
  const auto bit = [&](int64_t i) { return i < 192 ? words[size_t(i / 64)] >> i % 64 & 1 : 0; };
  for (int64_t first = 0; first < 192; ++first) {
    uint64_t want = 0, count = 0;
    for (int64_t i = 0; i < 64; ++i) want |= bit(first + i) << i, count += bit(first + i);
    CHECK(bits_from(row, 3, first) == want);
    CHECK(count_bits(want) == int64_t(count));
  }
  for (int64_t first = 0; first < 128; ++first) {
    std::array<uint64_t, 3> set{};
    or_bits(reinterpret_cast<uint8_t*>(set.data()), first, words[0]);
    CHECK(bits_from(reinterpret_cast<const uint8_t*>(set.data()), 3, first) == words[0]);
    CHECK(count_bits(set[0]) + count_bits(set[1]) + count_bits(set[2]) == count_bits(words[0]));
  }
  CHECK(low_bits(1) == 1);
  CHECK(low_bits(64) == ~uint64_t(0));
}

TEST_CASE("a profile counts the voxels of every plane, and box and count follow from it") {
  const std::array<int64_t, 3> size{70, 9, 131};
  BitMasks masks(size, 2);
  std::array<std::vector<int64_t>, 3> want;
  for (size_t axis = 0; axis < 3; ++axis) want[axis].resize(size_t(size[axis]));
  uint64_t state = 11;
  for (int64_t h = 3; h < 66; ++h) {
    for (int64_t w = 2; w < 8; ++w) {
      for (int64_t d = 5; d < 130; ++d) {
        if (next_word(state) % 3 == 0) continue;
        masks.set(1, h, w, d);
        ++want[0][size_t(h)], ++want[1][size_t(w)], ++want[2][size_t(d)];
      }
    }
  }
  const MaskProfile profile = masks.profile(1);
  CHECK(profile.voxels == want);
  CHECK(profile.count() == masks.count(1));
  CHECK(profile.box().start == std::array<int64_t, 3>{3, 2, 5});
  CHECK(profile.box().end == std::array<int64_t, 3>{66, 8, 130});
  CHECK(masks.bounding_box(1).start == profile.box().start);
  CHECK(masks.bounding_box(1).end == profile.box().end);
  CHECK(masks.profile(0).count() == 0);
  CHECK(masks.profile(0).box().empty());
  CHECK(masks.bounding_box(0).empty());
}

}  // namespace
}  // namespace sat
