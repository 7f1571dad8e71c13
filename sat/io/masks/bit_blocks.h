// Private. Blocks of 64 x 64 bits, and bits at any place of a row: how masks are turned without a byte a voxel.
// Knows words only, not what they stand for.
#pragma once

#include <cstdint>
#include <cstring>

namespace sat {

/// Turns a block about its diagonal: bit j of word i becomes bit i of word j.
inline void transpose_bits(uint64_t* block) {
  uint64_t low = 0x00000000FFFFFFFF;  // of every pair of squares that change places
  for (int side = 32; side > 0; side /= 2, low ^= low << side) {
    for (int pair = 0; pair < 64; pair += 2 * side) {
      for (int i = pair; i < pair + side; ++i) {
        const uint64_t swapped = (block[i] >> side ^ block[i + side]) & low;
        block[i] ^= swapped << side;
        block[i + side] ^= swapped;
      }
    }
  }
}

/// 64 bits of a row of `words` words from bit `first` on, which it holds; 0 behind its end.
inline uint64_t bits_from(const uint8_t* row, int64_t words, int64_t first) {
  const int64_t at = first >> 6;
  const int shift = int(first & 63);
  uint64_t low, high = 0;
  std::memcpy(&low, row + at * 8, sizeof low);
  if (shift == 0) return low;
  if (at + 1 < words) std::memcpy(&high, row + at * 8 + 8, sizeof high);
  return low >> shift | high << (64 - shift);
}

/// The lowest `count` bits, 1 to 64 of them.
inline uint64_t low_bits(int64_t count) { return ~uint64_t(0) >> (64 - count); }

/// How many bits are set: without an instruction that not every processor has, and without a call.
inline int64_t count_bits(uint64_t bits) {
  bits -= bits >> 1 & 0x5555555555555555;
  bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
  bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F;
  return int64_t(bits * 0x0101010101010101 >> 56);
}

/// Sets bit first + i of a row where bit i of `bits` is set. The row starts at a word and holds all of them.
inline void or_bits(uint8_t* row, int64_t first, uint64_t bits) {
  const auto add = [](uint8_t* to, uint64_t more) {
    uint64_t word;
    std::memcpy(&word, to, sizeof word);
    word |= more;
    std::memcpy(to, &word, sizeof word);
  };
  const int shift = int(first & 63);
  uint8_t* word = row + (first >> 6) * 8;
  add(word, bits << shift);
  const uint64_t carried = shift == 0 ? 0 : bits >> (64 - shift);
  if (carried != 0) add(word + 8, carried);
}

}  // namespace sat
