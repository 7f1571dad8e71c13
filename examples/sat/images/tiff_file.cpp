// TIFF through libtiff: the first page, its rows read in their own depth.
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "examples/sat/images/decode.h"
#include "sat/io/files/file.h"

namespace sat::cli {

namespace {

/// The bytes of a file, as libtiff asks for them, and what it says.
struct TiffSource {
  const uint8_t* bytes = nullptr;
  uint64_t count = 0, at = 0;
  char error[240] = "", warning[240] = "";  // the first of each

  static TiffSource& of(thandle_t handle) { return *static_cast<TiffSource*>(handle); }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t wanted) {
    TiffSource& s = of(handle);
    const uint64_t left = s.at < s.count ? s.count - s.at : 0,
                   got = std::min(left, uint64_t(std::max<tmsize_t>(wanted, 0)));
    if (got > 0) std::memcpy(to, s.bytes + s.at, size_t(got));
    s.at += got;
    return tmsize_t(got);
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t handle, toff_t offset, int from) {
    TiffSource& s = of(handle);
    s.at = from == SEEK_SET ? offset : from == SEEK_CUR ? s.at + offset : s.count + offset;
    return s.at;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t handle) { return of(handle).count; }
  static int say(char (&to)[240], const char* format, std::va_list words) {
    if (!to[0]) std::vsnprintf(to, sizeof to, format, words);
    return 1;
  }
  static int on_error(TIFF*, void* self, const char*, const char* format, std::va_list words) {
    return say(static_cast<TiffSource*>(self)->error, format, words);
  }
  static int on_warning(TIFF*, void* self, const char*, const char* format, std::va_list words) {
    return say(static_cast<TiffSource*>(self)->warning, format, words);
  }
};

using OpenTiff = std::unique_ptr<TIFF, void (*)(TIFF*)>;

OpenTiff open_tiff(TiffSource& source) {
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  if (!options) throw std::bad_alloc();
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), tmsize_t(1) << 30);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), TiffSource::on_error, &source);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), TiffSource::on_warning, &source);
  return {TIFFClientOpenExt("image", "rm", &source, TiffSource::read, TiffSource::write, TiffSource::seek,
                            TiffSource::close, TiffSource::size, nullptr, nullptr, options.get()),
          TIFFClose};
}

/// How the first page is stored.
struct Page {
  uint32_t width = 0, height = 0;
  uint16_t bits = 1, samples = 1, photometric = PHOTOMETRIC_MINISBLACK, planes = PLANARCONFIG_CONTIG;
  uint16_t sample_format = SAMPLEFORMAT_UINT, compression = COMPRESSION_NONE, orientation = ORIENTATION_TOPLEFT;

  bool grey() const { return photometric == PHOTOMETRIC_MINISBLACK || photometric == PHOTOMETRIC_MINISWHITE; }
  ImageSize size() const { return {int64_t(height), int64_t(width)}; }
};

Page page_of(TIFF* tiff) {
  Page page;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &page.width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &page.height);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &page.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &page.samples);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &page.photometric);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &page.planes);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &page.sample_format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &page.compression);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &page.orientation);
  return page;
}

std::string name_of_photometric(uint16_t photometric) {
  switch (photometric) {
    case PHOTOMETRIC_MINISWHITE: return "minimum is white";
    case PHOTOMETRIC_MINISBLACK: return "grey";
    case PHOTOMETRIC_RGB: return "RGB";
    case PHOTOMETRIC_PALETTE: return "palette";
    case PHOTOMETRIC_YCBCR: return "YCbCr";
    case PHOTOMETRIC_SEPARATED: return "CMYK";
    default: return "photometric interpretation " + std::to_string(photometric);
  }
}

/// How many bytes one byte of a file can become, at most; the limit of pixels is what bounds the other methods.
int64_t most_expansion(uint16_t compression) {
  switch (compression) {
    case COMPRESSION_NONE: return 1;
    case COMPRESSION_PACKBITS: return 64;
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE: return kMaxInflation;
    case COMPRESSION_LZW: return 4096;
    default: return int64_t(1) << 40;
  }
}

void check_page(const Page& page, const EncodedImage& file) {
  check_image_size(page.size(), file.path, file.options.max_pixels);
  const bool ycbcr = page.photometric == PHOTOMETRIC_YCBCR && page.compression == COMPRESSION_JPEG;
  const bool rgb = page.photometric == PHOTOMETRIC_RGB || ycbcr, palette = page.photometric == PHOTOMETRIC_PALETTE;
  const bool depth = page.bits == 8 || (page.bits == 16 && !ycbcr && !palette) || (page.bits == 1 && page.grey());
  SAT_CHECK((page.grey() || rgb || palette) && depth && page.sample_format == SAMPLEFORMAT_UINT, file.path,
            ": a TIFF of ", page.bits, " bits a sample (", name_of_photometric(page.photometric), ", sample format ",
            page.sample_format, "); grey of 1, 8 and 16 unsigned bits, RGB of 8 and 16 and palettes of 8 are read");
  const int wanted = rgb ? 3 : 1;
  SAT_CHECK(page.samples >= wanted && page.samples <= wanted + 4, file.path, ": a TIFF of ", page.samples,
            " samples a pixel; ", name_of_photometric(page.photometric), " has ", wanted);
  SAT_CHECK(page.bits != 1 || page.samples == 1, file.path, ": a TIFF of 1 bit and ", page.samples, " samples a pixel");
  const int64_t row = (int64_t(page.width) * page.samples * page.bits + 7) / 8;
  SAT_CHECK(row * page.height / most_expansion(page.compression) <= file.size(), file.path,
            ": damaged as TIFF: ", page.size(), " pixels cannot be packed into the file's ", file.size(), " bytes");
}

/// Reads the page row by row: gives each row's samples [width][samples] (16 bits a sample: in the machine's order) to
/// `take`, which copies what it wants of them.
template <class Take>
bool read_rows(TIFF* tiff, const Page& page, Take take) {
  const bool split = page.planes == PLANARCONFIG_SEPARATE && page.samples > 1;
  const int planes = split ? page.samples : 1, bytes = page.bits == 16 ? 2 : 1;
  const int64_t pixel = int64_t(split ? 1 : page.samples) * bytes;
  if (!TIFFIsTiled(tiff)) {
    std::vector<uint8_t> row(size_t(std::max<tmsize_t>(TIFFScanlineSize(tiff), 0)));
    const int64_t needed = page.bits == 1 ? (int64_t(page.width) + 7) / 8 : int64_t(page.width) * pixel;
    if (int64_t(row.size()) < needed) return false;
    for (int plane = 0; plane < planes; ++plane) {
      for (uint32_t y = 0; y < page.height; ++y) {
        if (TIFFReadScanline(tiff, row.data(), y, uint16_t(plane)) != 1) return false;
        take(plane, int64_t(y), int64_t(0), int64_t(page.width), row.data());
      }
    }
    return true;
  }
  uint32_t across = 0, down = 0;
  TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &across);
  TIFFGetField(tiff, TIFFTAG_TILELENGTH, &down);
  const int64_t row = int64_t(TIFFTileRowSize(tiff)),
                needed = page.bits == 1 ? (int64_t(across) + 7) / 8 : across * pixel;
  // A tile may reach past the image, but not by a multiple of it.
  if (across == 0 || down == 0 || across > page.width + 4096 || down > page.height + 4096 || row < needed) return false;
  std::vector<uint8_t> tile(size_t(std::max<tmsize_t>(TIFFTileSize(tiff), 0)));
  if (int64_t(tile.size()) < row * down) return false;
  for (int plane = 0; plane < planes; ++plane) {
    for (uint32_t y = 0; y < page.height; y += down) {
      for (uint32_t x = 0; x < page.width; x += across) {
        if (TIFFReadTile(tiff, tile.data(), x, y, 0, uint16_t(plane)) < 0) return false;
        for (uint32_t i = 0; i < std::min(down, page.height - y); ++i) {
          take(plane, int64_t(y) + i, int64_t(x), int64_t(std::min(across, page.width - x)), tile.data() + i * row);
        }
      }
    }
  }
  return true;
}

/// The upper bytes of a palette's colours, [256][3].
std::vector<uint8_t> palette_of(TIFF* tiff, const std::string& path) {
  uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
  SAT_CHECK(TIFFGetField(tiff, TIFFTAG_COLORMAP, &red, &green, &blue) == 1, path, ": a TIFF without its palette");
  std::vector<uint8_t> palette;
  for (int i = 0; i < 256; ++i) {
    for (const uint16_t* channel : {red, green, blue}) palette.push_back(uint8_t(channel[i] >> 8));
  }
  return palette;
}

}  // namespace

bool is_tiff(std::string_view bytes) {
  const std::string_view start = bytes.substr(0, 4);
  return start == std::string_view("II*\0", 4) || start == std::string_view("MM\0*", 4) ||
         start == std::string_view("II+\0", 4) || start == std::string_view("MM\0+", 4);
}

DecodedImage decode_tiff(const EncodedImage& file) {
  TiffSource source;
  source.bytes = file.data();
  source.count = file.bytes.size();
  const OpenTiff tiff = open_tiff(source);
  SAT_CHECK(tiff, file.path, ": damaged as TIFF: ", source.error[0] ? source.error : "it has no first page");
  const Page page = page_of(tiff.get());
  check_page(page, file);
  if (page.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);

  DecodedImage decoded;
  ImageFacts& facts = decoded.facts;
  facts.format = "TIFF";
  facts.photometric = name_of_photometric(page.photometric);
  facts.bits = page.bits;
  facts.orientation = page.orientation >= 1 && page.orientation <= 8 ? page.orientation : 1;
  decoded.turn = true;
  decoded.inverted = page.photometric == PHOTOMETRIC_MINISWHITE;
  const bool palette = page.photometric == PHOTOMETRIC_PALETTE, deep = page.bits == 16 && page.grey();
  const bool split = page.planes == PLANARCONFIG_SEPARATE && page.samples > 1;
  const int64_t channels = page.grey() ? 1 : 3, stored = palette ? 1 : channels, step = split ? 1 : page.samples;
  const std::vector<uint8_t> colours = palette ? palette_of(tiff.get(), file.path) : std::vector<uint8_t>();
  if (deep) {
    decoded.values = Tensor({page.size().height, page.size().width});
  } else {
    decoded.image = Image8(page.size(), channels);
  }
  float* values = deep ? decoded.values.data<float>() : nullptr;
  uint8_t* pixels = deep ? nullptr : decoded.image.pixels.data<uint8_t>();

  const auto take = [&](int plane, int64_t y, int64_t x, int64_t count, const uint8_t* row) {
    if (plane >= stored) return;  // alpha, or samples that nobody explains
    const int64_t first = y * int64_t(page.width) + x;
    for (int64_t i = 0; i < count; ++i) {
      if (page.bits == 1) {
        pixels[first + i] = (row[i / 8] >> (7 - i % 8) & 1) ? 255 : 0;
      } else if (palette) {
        std::copy_n(colours.data() + 3 * row[i * step], 3, pixels + 3 * (first + i));
      } else {
        for (int64_t c = 0; c < (split ? 1 : stored); ++c) {
          uint16_t deep_sample = 0;
          const int64_t at = i * step + c;
          if (page.bits == 16) std::memcpy(&deep_sample, row + 2 * at, 2);
          if (deep) {
            values[first + i] = float(deep_sample);
          } else {
            pixels[(first + i) * channels + (split ? plane : c)] =
                page.bits == 16 ? uint8_t(deep_sample >> 8) : row[at];
          }
        }
      }
    }
  };
  const bool read = read_rows(tiff.get(), page, take) && !source.error[0];
  SAT_CHECK(read, file.path, ": damaged as TIFF: ", source.error[0] ? source.error : "its rows or tiles are too small");
  if (source.warning[0]) decoded.warnings.push_back("libtiff: " + std::string(source.warning));
  if (page.bits == 16 && !deep) decoded.warnings.push_back("of its 16 bits a colour the upper 8 are taken");
  if (TIFFReadDirectory(tiff.get()) == 1) decoded.warnings.push_back("of its pages only the first is read");
  return decoded;
}

}  // namespace sat::cli
