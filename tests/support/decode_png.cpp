// Chunks, inflation, and the five filters.
#include "tests/support/decode_png.h"

#include <zlib.h>

#include <cstdlib>

namespace sat::test {

namespace {

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | uint8_t(bytes.at(at + i));
  return value;
}

}  // namespace

Tensor decode_png(const std::string& bytes) {
  SAT_CHECK(bytes.substr(0, 8) == "\x89PNG\r\n\x1A\n", "signature");
  std::string header, packed;
  for (size_t at = 8; at < bytes.size();) {
    const size_t length = big_endian(bytes, at);
    const std::string type = bytes.substr(at + 4, 4), body = bytes.substr(at + 8, length);
    const uLong crc = ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + at + 4), uInt(length + 4));
    SAT_CHECK(big_endian(bytes, at + 8 + length) == crc, "checksum of ", type);
    if (type == "IHDR") header = body;
    if (type == "IDAT") packed += body;
    at += 12 + length;
  }
  const int64_t columns = big_endian(header, 0), rows = big_endian(header, 4), channels = header[9] == 2 ? 3 : 1;
  SAT_CHECK(header.size() == 13 && header[8] == 8, "header");
  std::string raw(size_t(rows * (columns * channels + 1)), '\0');
  uLongf size = uLongf(raw.size());
  const int status = uncompress(reinterpret_cast<Bytef*>(raw.data()), &size,
                                reinterpret_cast<const Bytef*>(packed.data()), uLong(packed.size()));
  SAT_CHECK(status == Z_OK && size == raw.size(), "deflate");
  Tensor pixels({rows, columns, channels}, DType::u8);
  uint8_t* out = pixels.data<uint8_t>();
  const int64_t n = columns * channels;
  for (int64_t r = 0; r < rows; ++r) {
    const int filter = raw[size_t(r * (n + 1))];
    for (int64_t i = 0; i < n; ++i) {
      const int a = i >= channels ? out[r * n + i - channels] : 0, b = r > 0 ? out[(r - 1) * n + i] : 0;
      const int c = r > 0 && i >= channels ? out[(r - 1) * n + i - channels] : 0;
      const int p = a + b - c, pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
      const int predictions[] = {0, a, b, (a + b) / 2, pa <= pb && pa <= pc ? a : pb <= pc ? b : c};
      out[r * n + i] = uint8_t(uint8_t(raw[size_t(r * (n + 1) + 1 + i)]) + predictions[filter]);
    }
  }
  return pixels;
}

}  // namespace sat::test
