// Blocks of runs inflate to what was put in, however its lengths and values are spread; so do masks from their bits.
#include "sat/io/deflate/run_block.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sat/io/deflate/bit_crc.h"

namespace sat {
namespace {

/// The blocks and a last one, as zlib's own reader inflates them; what is wrong with them where it does not.
std::string inflated(const std::string& blocks, size_t most) {
  std::string stream = blocks + std::string(kLastBlock, kLastBlockBytes), out(most + 1, '\0');
  z_stream reader{};
  REQUIRE(inflateInit2(&reader, -15) == Z_OK);
  reader.next_in = reinterpret_cast<Bytef*>(stream.data());
  reader.avail_in = uInt(stream.size());
  reader.next_out = reinterpret_cast<Bytef*>(out.data());
  reader.avail_out = uInt(out.size());
  const int status = ::inflate(&reader, Z_FINISH);
  const bool whole = status == Z_STREAM_END && reader.avail_in == 0;
  const std::string wrong = reader.msg ? reader.msg : "ends elsewhere";
  out.resize(out.size() - reader.avail_out);
  inflateEnd(&reader);
  return whole ? out : wrong;
}

std::string deflated(const std::string& bytes) {
  RunBlock block;
  block.add_bytes(reinterpret_cast<const uint8_t*>(bytes.data()), int64_t(bytes.size()));
  return block.deflate();
}

/// The next of a stream of numbers below `limit`.
uint32_t draw(uint64_t& state, uint32_t limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return uint32_t(state >> 33) % limit;
}

TEST_CASE("runs of every length about what a repeat can tell come back") {
  for (int64_t length : {1, 2, 3, 4, 5, 257, 258, 259, 260, 261, 262, 516, 517, 518, 519, 520, 5000}) {
    const std::string bytes = "a" + std::string(size_t(length), 'b') + "c";
    CAPTURE(length);
    CHECK(inflated(deflated(bytes), bytes.size()) == bytes);
  }
  CHECK(inflated(deflated(""), 0) == "");
  CHECK(inflated(deflated("x"), 1) == "x");
}

TEST_CASE("any mixture of values and lengths comes back") {
  uint64_t state = 1;
  for (uint32_t values : {1u, 2u, 3u, 33u, 256u}) {
    for (uint32_t longest : {1u, 3u, 40u, 3000u}) {
      std::string bytes;
      while (bytes.size() < 60000) bytes.append(1 + draw(state, longest), char(draw(state, values)));
      CAPTURE(values);
      CAPTURE(longest);
      const bool same = inflated(deflated(bytes), bytes.size()) == bytes;
      CHECK(same);
    }
  }
}

TEST_CASE("values so unequal that their codes would be too long come back") {
  std::string bytes;  // as often as the Fibonacci numbers: the deepest tree there is
  size_t count = 1, before = 1;
  for (int value = 0; value < 24; ++value) {
    for (size_t i = 0; i < count; ++i) bytes += std::string(1, char(value)) + char(255 - value);
    before = std::exchange(count, count + before);
  }
  const bool same = inflated(deflated(bytes), bytes.size()) == bytes;
  CHECK(same);
}

TEST_CASE("blocks follow each other in one stream") {
  CHECK(inflated(deflated("aaaa") + deflated("") + deflated("b"), 5) == "aaaab");
}

TEST_CASE("bits give the block and the checksum that their bytes give, however they are split") {
  uint64_t state = 7;
  for (uint32_t longest : {1u, 5u, 90u, 700u}) {
    std::string bytes;
    for (char value = 0; bytes.size() < 20011; value = char(1 - value)) bytes.append(1 + draw(state, longest), value);
    RunBlock block;
    BitCrc crc;
    for (size_t at = 0; at < bytes.size();) {
      const size_t count = std::min<size_t>(1 + draw(state, 64), bytes.size() - at);
      uint64_t bits = 0;
      for (size_t i = 0; i < count; ++i) bits |= uint64_t(bytes[at + i]) << i;
      block.add_bits(bits, int64_t(count));
      crc.add(bits, int64_t(count));
      at += count;
      if (at % 7 == 0) CHECK(crc.value() == ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), uInt(at)));
    }
    CAPTURE(longest);
    const bool same = block.deflate() == deflated(bytes);
    CHECK(same);
    CHECK(crc.value() == ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), uInt(bytes.size())));
  }
  CHECK(BitCrc().value() == 0);
}

}  // namespace
}  // namespace sat
