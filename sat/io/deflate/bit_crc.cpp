// A CRC is linear: what stands in it and what is added to it each move on by themselves, through tables.
#include "sat/io/deflate/bit_crc.h"

#include <array>
#include <cstddef>

namespace sat {

namespace {

using std::size_t;

constexpr uint32_t kPolynomial = 0xEDB88320;

/// `state` after `bytes` zero bytes more.
constexpr uint32_t after_zeros(uint32_t state, int bytes) {
  for (int bit = 0; bit < 8 * bytes; ++bit) state = state >> 1 ^ (state & 1 ? kPolynomial : 0);
  return state;
}

struct Tables {
  std::array<uint32_t, 256> of_byte{};               // a byte, after itself
  std::array<std::array<uint32_t, 256>, 4> kept{};   // the state's bytes, after 64 bytes
  std::array<std::array<uint32_t, 256>, 8> added{};  // eight bits as eight bytes, at each eighth of the 64 bytes

  Tables() {
    // Single bits first; of a linear function the others are sums of them.
    const auto fill = [](std::array<uint32_t, 256>& table) {
      for (size_t i = 1; i < table.size(); ++i) table[i] = table[i & (i - 1)] ^ table[i & ~(i - 1)];
    };
    for (int bit = 0; bit < 8; ++bit) {
      const size_t i = size_t(1) << bit;
      of_byte[i] = after_zeros(uint32_t(i), 1);
      for (int byte = 0; byte < 4; ++byte) kept[size_t(byte)][i] = after_zeros(uint32_t(i) << (8 * byte), 64);
      for (int eighth = 0; eighth < 8; ++eighth) {
        added[size_t(eighth)][i] = after_zeros(1, 64 - 8 * eighth - bit);  // from the byte that it is
      }
    }
    fill(of_byte);
    for (auto& table : kept) fill(table);
    for (auto& table : added) fill(table);
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

}  // namespace

void BitCrc::add_word(uint64_t bits) {
  const Tables& t = tables();
  state_ =
      t.kept[0][state_ & 255] ^ t.kept[1][state_ >> 8 & 255] ^ t.kept[2][state_ >> 16 & 255] ^ t.kept[3][state_ >> 24];
  for (size_t eighth = 0; bits != 0; ++eighth, bits >>= 8) state_ ^= t.added[eighth][bits & 255];
}

uint32_t BitCrc::value() const {
  uint32_t state = state_;
  for (int64_t i = 0; i < waits_; ++i) {
    state = tables().of_byte[(state ^ uint32_t(waiting_ >> i & 1)) & 255] ^ state >> 8;
  }
  return ~state;
}

}  // namespace sat
