// Private. CRC-32, as gzip has it, of bytes that are all 0 or 1, from their bits: a table a byte of bits, not of bytes.
// Knows no files; bytes of any value are file.h's.
#pragma once

#include <cstdint>

namespace sat {

class BitCrc {
 public:
  /// Bytes 0 or 1, as the lowest `count` bits say, the others being 0; 64 at most.
  void add(uint64_t bits, int64_t count) {
    waiting_ |= bits << waits_;
    waits_ += count;
    if (waits_ < 64) return;
    add_word(waiting_);
    waits_ -= 64;
    waiting_ = waits_ == 0 ? 0 : bits >> (count - waits_);
  }
  uint32_t value() const;

 private:
  void add_word(uint64_t bits);

  uint32_t state_ = ~uint32_t(0);
  uint64_t waiting_ = 0;  // fewer than 64 bits, to be added together
  int64_t waits_ = 0;
};

}  // namespace sat
