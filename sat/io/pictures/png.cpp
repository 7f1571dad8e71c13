// PNG (ISO/IEC 15948): signature, header, filtered rows deflated into one chunk, end.
#include "sat/io/pictures/png.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <utility>

#include "sat/io/files/file.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kRowsAtOnce = 32;  // filtered by one thread

void append_u32(std::string& text, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) text += char(value >> shift & 255);
}

std::string chunk(const std::string& type, const std::string& body) {
  std::string bytes;
  append_u32(bytes, uint32_t(body.size()));
  bytes += type;
  bytes += body;
  append_u32(bytes, crc32(bytes.data() + 4, int64_t(bytes.size()) - 4));
  return bytes;
}

/// The standard's Paeth predictor: whichever neighbour is nearest to left + above - corner.
uint8_t paeth(int left, int above, int corner) {
  const int guess = left + above - corner;
  const int to_left = std::abs(guess - left), to_above = std::abs(guess - above), to_corner = std::abs(guess - corner);
  if (to_left <= to_above && to_left <= to_corner) return uint8_t(left);
  return uint8_t(to_above <= to_corner ? above : corner);
}

/// One row minus its prediction by filter 0 none, 1 left, 2 above, 3 their mean, 4 Paeth; `above` is null for row 0.
std::string filtered(int filter, const uint8_t* row, const uint8_t* above, int64_t count, int64_t channels) {
  std::string out(1, char(filter));
  for (int64_t i = 0; i < count; ++i) {
    const int left = i < channels ? 0 : row[i - channels];
    const int up = above ? above[i] : 0;
    const int corner = above && i >= channels ? above[i - channels] : 0;
    const int prediction = filter == 1   ? left
                           : filter == 2 ? up
                           : filter == 3 ? (left + up) / 2
                           : filter == 4 ? paeth(left, up, corner)
                                         : 0;
    out += char(row[i] - prediction);
  }
  return out;
}

/// What deflate will make of a row is guessed by the sum of its bytes' distances from zero, as the standard advises.
int64_t cost(const std::string& row) {
  int64_t sum = 0;
  for (size_t i = 1; i < row.size(); ++i) sum += std::abs(int(static_cast<signed char>(row[i])));
  return sum;
}

}  // namespace

void write_png(const std::string& path, const Tensor& pixels) {
  const bool fits = pixels.shape.rank() == 3 && (pixels.shape[2] == 1 || pixels.shape[2] == 3);
  SAT_CHECK(fits, "write_png: ", path, ": pixels are ", pixels.shape, ", needs [rows, columns, 1 or 3]");
  const int64_t rows = pixels.shape[0], columns = pixels.shape[1], channels = pixels.shape[2];
  SAT_CHECK(rows >= 1 && rows <= 65535 && columns >= 1 && columns <= 65535 &&
                rows * (columns * channels + 1) <= int64_t(1) << 30,
            "write_png: ", path, ": pixels are ", pixels.shape, ", at most 65535 a side and 1 GB fit");
  const uint8_t* values = pixels.data<uint8_t>();
  const int64_t row_bytes = columns * channels;

  std::string raw(size_t(rows * (row_bytes + 1)), '\0');
  parallel_for(rows, kRowsAtOnce, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const uint8_t* row = values + r * row_bytes;
      const uint8_t* above = r > 0 ? row - row_bytes : nullptr;
      std::string best;
      int64_t least = std::numeric_limits<int64_t>::max();
      for (int filter = 0; filter <= 4; ++filter) {
        std::string candidate = filtered(filter, row, above, row_bytes, channels);
        const int64_t of_candidate = cost(candidate);
        if (of_candidate >= least) continue;
        least = of_candidate;
        best = std::move(candidate);
      }
      std::copy(best.begin(), best.end(), raw.begin() + r * (row_bytes + 1));
    }
  });

  std::string header;
  append_u32(header, uint32_t(columns));
  append_u32(header, uint32_t(rows));
  header += {8, char(channels == 3 ? 2 : 0), 0, 0, 0};  // bits, colour type, deflate, filters a row, not interlaced
  AtomicFile file(path);
  file.write("\x89PNG\r\n\x1A\n");
  file.write(chunk("IHDR", header));
  file.write(chunk("IDAT", zlib_compress(raw, 6)));
  file.write(chunk("IEND", ""));
  file.commit();
}

}  // namespace sat
