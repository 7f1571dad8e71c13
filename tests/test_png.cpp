// PNG pictures decode to the pixels they were made of, by a decoder of the test's own.
#include "sat/io/png.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>

#include "sat/io/file.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | uint8_t(bytes.at(at + i));
  return value;
}

/// Reads a picture as the standard says, checking every length and checksum.
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

Tensor picture(int64_t rows, int64_t columns, int64_t channels, bool noisy) {
  Tensor pixels({rows, columns, channels}, DType::u8);
  const Tensor noise = field("pixels", pixels.shape, 127, 128);
  for (int64_t i = 0; i < pixels.numel(); ++i) {
    pixels.data<uint8_t>()[i] = uint8_t(noisy ? int64_t(noise.data<float>()[i]) : i / columns + 2 * (i % columns));
  }
  return pixels;
}

TEST_CASE("gray and colour pictures decode to their pixels at every awkward size") {
  const TempDir folder;
  for (int64_t channels : {1, 3}) {
    for (const bool noisy : {false, true}) {
      for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {5, 1}, {33, 47}, {200, 300}}) {
        CAPTURE(channels);
        CAPTURE(rows);
        const Tensor pixels = picture(rows, columns, channels, noisy);
        write_png(folder / "picture.png", pixels);
        CHECK(mismatch(decode_png(read_text(folder / "picture.png")), pixels, {}) == "");
      }
    }
  }
}

TEST_CASE("filters make a smooth picture at least ten times smaller than its pixels") {
  const TempDir folder;
  write_png(folder / "smooth.png", picture(200, 300, 3, false));
  CHECK(std::filesystem::file_size(folder / "smooth.png") * 10 < 200 * 300 * 3);
}

TEST_CASE("a tensor that is not a picture is refused and leaves no file") {
  const TempDir folder;
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({4, 4}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({4, 4, 2}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({0, 4, 3}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({70000, 1, 1}, DType::u8)), Error);
  CHECK_THROWS_AS(write_png(folder / "x.png", Tensor({4, 4, 3}, DType::f32)), Error);
  CHECK(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace sat
