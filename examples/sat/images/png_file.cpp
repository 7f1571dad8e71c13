// PNG through libpng. Its errors leave by longjmp, which runs no destructors: what it may jump over holds nothing that
// needs one, and everything else lives outside of guarded().
#include <png.h>

#include <csetjmp>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

#include "examples/sat/images/decode.h"
#include "sat/io/files/file.h"

namespace sat::cli {

namespace {

struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const uint8_t* next = nullptr;
  size_t left = 0;
  char error[160] = "", warning[160] = "";  // the last one, the first one

  PngReader() {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) {
      png_destroy_read_struct(&png, &info, nullptr);
      throw std::bad_alloc();
    }
  }
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Runs calls of libpng; false, with `error` set, where one of them failed.
  template <class Calls>
  bool guarded(Calls calls) {
    static_assert(std::is_trivially_destructible_v<Calls>);
    if (setjmp(png_jmpbuf(png))) return false;
    calls();
    return true;
  }

 private:
  static void keep(char (&to)[160], const char* text) {
    std::strncpy(to, text, sizeof to - 1);
    to[sizeof to - 1] = '\0';
  }
  [[noreturn]] static void on_error(png_structp png, const char* text) {
    keep(static_cast<PngReader*>(png_get_error_ptr(png))->error, text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp png, const char* text) {
    auto& reader = *static_cast<PngReader*>(png_get_error_ptr(png));
    if (!reader.warning[0]) keep(reader.warning, text);
  }
};

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > reader.left) png_error(png, "the file ends too early");
  std::memcpy(to, reader.next, count);
  reader.next += count;
  reader.left -= count;
}

const char* name_of_colour(int colour) {
  switch (colour) {
    case PNG_COLOR_TYPE_GRAY: return "grey";
    case PNG_COLOR_TYPE_GRAY_ALPHA: return "grey and alpha";
    case PNG_COLOR_TYPE_PALETTE: return "palette";
    case PNG_COLOR_TYPE_RGB_ALPHA: return "RGB and alpha";
    default: return "RGB";
  }
}

}  // namespace

bool is_png(std::string_view bytes) { return bytes.substr(0, 8) == "\x89PNG\r\n\x1A\n"; }

DecodedImage decode_png(const EncodedImage& file) {
  PngReader reader;
  const png_structp png = reader.png;
  const png_infop info = reader.info;
  reader.next = file.data();
  reader.left = file.bytes.size();
  png_uint_32 width = 0, height = 0;
  int bits = 0, colour = 0;
  size_t row_bytes = 0;
  const auto damaged = [&] { fail(file.path, ": damaged as PNG: ", reader.error); };

  const bool begun = reader.guarded([&] {
    png_set_read_fn(png, &reader, read_bytes);
    png_set_user_limits(png, png_uint_32(kMaxImageSide), png_uint_32(kMaxImageSide));
    png_set_chunk_malloc_max(png, png_alloc_size_t(1) << 20);
    png_set_chunk_cache_max(png, 64);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
    png_read_info(png, info);
    png_get_IHDR(png, info, &width, &height, &bits, &colour, nullptr, nullptr, nullptr);
    row_bytes = png_get_rowbytes(png, info);
  });
  if (!begun) damaged();
  const ImageSize size{int64_t(height), int64_t(width)};
  check_image_size(size, file.path, file.options.max_pixels);
  SAT_CHECK(size.height * int64_t(row_bytes) <= file.size() * kMaxInflation, file.path, ": damaged as PNG: ", size,
            " pixels of ", int64_t(row_bytes), " bytes a row cannot be packed into the file's ", file.size(), " bytes");

  const bool grey = !(colour & PNG_COLOR_MASK_COLOR), deep = bits == 16 && grey;
  const bool prepared = reader.guarded([&] {
    if (grey && bits < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (bits == 16 && !grey) png_set_strip_16(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    row_bytes = png_get_rowbytes(png, info);
  });
  if (!prepared) damaged();
  const int64_t channels = grey ? 1 : 3;
  SAT_CHECK(int64_t(row_bytes) == size.width * channels * (deep ? 2 : 1), file.path, ": its rows are ",
            int64_t(row_bytes), " bytes, which ", name_of_colour(colour), " of ", bits, " bits does not give");

  DecodedImage decoded;
  decoded.facts.format = "PNG";
  decoded.facts.photometric = name_of_colour(colour);
  decoded.facts.bits = bits;
  Tensor bytes(Shape{size.height, int64_t(row_bytes)}, DType::u8);
  std::vector<png_bytep> rows(size_t(size.height));
  for (int64_t y = 0; y < size.height; ++y) rows[size_t(y)] = bytes.data<uint8_t>() + y * int64_t(row_bytes);
  png_bytep exif = nullptr;
  png_uint_32 exif_bytes = 0;
  const bool read = reader.guarded([&] {
    png_read_image(png, rows.data());
    png_read_end(png, info);
    png_get_eXIf_1(png, info, &exif_bytes, &exif);
  });
  if (!read) damaged();
  if (exif) decoded.facts.orientation = exif_orientation({reinterpret_cast<const char*>(exif), size_t(exif_bytes)});
  if (reader.warning[0]) decoded.warnings.push_back("libpng: " + std::string(reader.warning));
  if (bits == 16 && !grey) decoded.warnings.push_back("of its 16 bits a colour the upper 8 are taken");
  if (deep) {
    decoded.values = Tensor({size.height, size.width});
    const uint8_t* from = bytes.data<uint8_t>();
    float* to = decoded.values.data<float>();
    for (int64_t i = 0; i < size.height * size.width; ++i) to[i] = float(from[2 * i] << 8 | from[2 * i + 1]);
  } else {
    decoded.image = Image8(bytes.reshape({size.height, size.width, channels}));
  }
  return decoded;
}

}  // namespace sat::cli
