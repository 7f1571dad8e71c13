// Malformed, lying and enormous images are refused in one sentence that names the file, or read where they can be.
#include <doctest/doctest.h>

#include <fstream>

#include "examples/sat/images/load_image.h"
#include "sat/io/files/file.h"
#include "tests/support/golden.h"
#include "tests/support/images/image_bytes.h"

namespace sat::cli {
namespace {

using namespace test;

std::string file(const std::string& name) { return read_text(golden_path("images/files/" + name)); }

/// The refusal of some bytes, without the path that it must begin with; "" where they are read.
std::string refusal(const std::string& bytes, const ImageOptions& options = {}) {
  const TempDir folder;
  const std::string path = folder / "scan.png";
  std::ofstream(path, std::ios::binary) << bytes;  // hundreds of them: none waits for the disk
  try {
    const LoadedImage loaded = load_image(path, options);
    CHECK(loaded.image.size() == loaded.facts.size);
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.rfind(path + ": ", 0) == 0);
    CHECK(message.find('\n') == std::string::npos);
    return message.substr(path.size() + 2);
  }
  return "";
}

void check_refused(const std::string& what, const std::string& bytes, const std::string& words) {
  CAPTURE(what);
  const std::string message = refusal(bytes);
  CAPTURE(message);
  CHECK_FALSE(message.empty());
  CHECK(message.find(words) != std::string::npos);
}

std::string with(std::string bytes, size_t at, const std::string& part) { return bytes.replace(at, part.size(), part); }

/// A PNG of grey rows with its header as said and its pixels as packed.
std::string png_of(const std::string& header, const std::string& packed,
                   const std::string& end = png_chunk("IEND", "")) {
  return kPngMark + header + png_chunk("IDAT", packed) + end;
}

TEST_CASE("what is no image is refused, whatever its name") {
  check_refused("nothing", "", "the file is empty");
  check_refused("text", "This is a radiograph, honestly.\n", "not an image that is read here");
  check_refused("zeros", std::string(5000, '\0'), "not an image that is read here");
  check_refused("GIF", "GIF89a\1\0\1\0\0\0\0;", "not an image that is read here");
  check_refused("half a mark", kPngMark.substr(0, 6), "not an image that is read here");
  check_refused("NumPy", "\x93NUMPY\1\0", "not an image that is read here");
  const TempDir folder;
  CHECK_THROWS_AS(load_image(folder.path()), Error);
  CHECK_THROWS_AS(load_image(folder / "absent.png"), Error);
  CHECK_THROWS_AS(load_image(""), Error);
}

TEST_CASE("a PNG, JPEG or TIFF cut off anywhere is refused, or gives the whole image") {
  for (const char* name : {"grey8.png", "interlaced16.png", "palette8.png", "rgb_420.jpg", "progressive.jpg",
                           "grey_lzw.tif", "deep_big.tif", "tiles_rgb.tif", "jpeg.tif"}) {
    const std::string bytes = file(name);
    int refused = 0, tried = 0;
    for (size_t length = 1; length < bytes.size(); length += 1 + bytes.size() / 40) {
      CAPTURE(name);
      CAPTURE(length);
      refused += !refusal(bytes.substr(0, length)).empty();
      ++tried;
    }
    CHECK(refused >= tried - 1);  // the last cut may only have taken what nobody needs
  }
}

TEST_CASE("a byte changed anywhere ends in an image or in a sentence") {
  for (const char* name : {"grey16.png", "rgb_420.jpg", "grey_deflate.tif", "planes.tif"}) {
    const std::string bytes = file(name);
    for (size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 60) {
      for (const char value : {'\0', '\xFF', '\x80'}) refusal(with(bytes, at, std::string(1, value)));
    }
  }
}

TEST_CASE("PNGs that lie about themselves are refused") {
  const std::string rows = zlib_compress(std::string(20, '\0'));
  check_refused("wrong checksum of the header", with(file("grey8.png"), 29, "abcd"), "damaged as PNG");
  const std::string wrong = kPngMark + png_header(4, 4, 8, 0) + png_chunk("IDAT", rows, 1) + png_chunk("IEND", "");
  check_refused("wrong checksum of the pixels", wrong, "damaged as PNG");
  check_refused("no rows", png_of(png_header(0, 4, 8, 0), rows), "damaged as PNG");
  check_refused("no columns", png_of(png_header(4, 0, 8, 0), rows), "damaged as PNG");
  check_refused("two billion columns", png_of(png_header(4, 0x7FFFFFFF, 8, 0), rows), "damaged as PNG");
  check_refused("four billion rows", png_of(png_header(0xFFFFFFFF, 4, 8, 0), rows), "damaged as PNG");
  check_refused("65535 a side", png_of(png_header(65535, 65535, 8, 0), rows), "4294836225 in all");
  check_refused("more than its bytes can hold", png_of(png_header(5000, 5000, 16, 2), rows), "cannot be packed");
  check_refused("3 bits", png_of(png_header(4, 4, 3, 0), rows), "damaged as PNG");
  check_refused("colour type 5", png_of(png_header(4, 4, 8, 5), rows), "damaged as PNG");
  check_refused("a palette that is not there", png_of(png_header(4, 4, 8, 3), rows), "damaged as PNG");
  check_refused("too few pixels", png_of(png_header(5, 4, 8, 0), rows), "damaged as PNG");
  check_refused("pixels that are no deflate", png_of(png_header(4, 4, 8, 0), "not packed at all"), "damaged as PNG");
  check_refused("no end", png_of(png_header(4, 4, 8, 0), rows, ""), "the file ends too early");
  check_refused("no pixels", kPngMark + png_header(4, 4, 8, 0) + png_chunk("IEND", ""), "damaged as PNG");
  check_refused("header twice", kPngMark + png_header(4, 4, 8, 0) + png_of(png_header(4, 4, 8, 0), rows).substr(8),
                "damaged as PNG");
  check_refused("a chunk of two gigabytes",
                kPngMark + png_header(4, 4, 8, 0) + number_bytes(0x7FFFFFFF, 4, true) + "IDAT" + rows,
                "the file ends too early");
  check_refused("an unknown chunk that must be known",
                kPngMark + png_header(4, 4, 8, 0) + png_chunk("ABCD", "x") + png_chunk("IDAT", rows), "damaged as PNG");
}

TEST_CASE("a packed megabyte of nothing is read, and refused by a limit") {
  const std::string packed = zlib_compress(std::string(1025 * 1024, '\0'), 9);
  const std::string bomb = png_of(png_header(1024, 1024, 8, 0), packed);
  CHECK(bomb.size() < 3000);
  CHECK(refusal(bomb) == "");
  ImageOptions options;
  options.max_pixels = 1024 * 1023;
  CHECK(refusal(bomb, options).find("at most 1047552 are read") != std::string::npos);
  options = {};
  options.max_bytes = 1000;
  const TempDir folder;
  write_file_atomically(folder / "bomb.png", bomb);
  CHECK_THROWS_AS(load_image(folder / "bomb.png", options), Error);
}

TEST_CASE("JPEGs that lie about themselves are refused") {
  const std::string grey = file("grey.jpg");
  const size_t frame = grey.find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  check_refused("65500 a side", with(grey, frame + 5, "\xFF\xDC\xFF\xDC"), "4290250000 in all");
  check_refused("more than its bytes can hold", with(grey, frame + 5, "\x2F\xDC\x1F\xDC"), "cannot be packed");
  check_refused("more rows than there are", with(grey, frame + 5, std::string("\0\x80", 2)), "damaged as JPEG");
  check_refused("no columns", with(grey, frame + 7, std::string("\0\0", 2)), "damaged as JPEG");
  check_refused("12 bits", with(grey, frame + 4, "\x0C"), "damaged as JPEG");
  check_refused("200 channels", with(grey, frame + 9, "\xC8"), "damaged as JPEG");
  check_refused("an unknown frame", with(grey, frame + 1, "\xCB"), "damaged as JPEG");
  check_refused("CMYK", file("cmyk.jpg"), "a JPEG of 4 channels");
  check_refused("nothing but its mark", "\xFF\xD8\xFF\xD9", "damaged as JPEG");
  check_refused("a table only", "\xFF\xD8\xFF\xDB" + number_bytes(67, 2, true) + std::string(65, '\1') + "\xFF\xD9",
                "damaged as JPEG");
}

TEST_CASE("a progressive JPEG of hundreds of scans is refused before it takes long") {
  const std::string bytes = file("progressive.jpg");
  const size_t first = bytes.find("\xFF\xDA"), second = bytes.find("\xFF\xDA", first + 2);
  REQUIRE(second != std::string::npos);
  size_t end = second;  // tables may stand before the second scan: the first one ends at the next marker
  for (size_t at = first + 2; at + 1 < second; ++at) {
    const auto next = uint8_t(bytes[at + 1]);
    if (bytes[at] == '\xFF' && next != 0 && !(next >= 0xD0 && next <= 0xD7)) {
      end = at;
      break;
    }
  }
  std::string many = bytes.substr(0, end);
  for (int i = 0; i < 300; ++i) many += bytes.substr(first, end - first);
  check_refused("300 scans", many + bytes.substr(end), "damaged as JPEG");
}

TEST_CASE("TIFFs that lie about themselves, or hold what is not read, are refused") {
  const std::string six("\1\2\3\4\5\6");
  const auto lie = [&](auto change) {
    TiffTags tags;
    change(tags);
    return tiff_bytes(2, 3, six, tags);
  };
  CHECK(refusal(tiff_bytes(2, 3, six)) == "");
  check_refused("more rows", lie([](TiffTags& t) { t.height = 5000; }), "cannot be packed");
  check_refused("65535 a side", lie([](TiffTags& t) { t.height = t.width = 65535; }), "4294836225 in all");
  check_refused("four billion columns", lie([](TiffTags& t) { t.width = 0xFFFFFFFF; }), "each side must be");
  check_refused("no rows", lie([](TiffTags& t) { t.height = 0; }), "TIFF");
  check_refused("7 bits", lie([](TiffTags& t) { t.bits = 7; }), "a TIFF of 7 bits");
  check_refused("32 bits", lie([](TiffTags& t) { t.bits = 32; }), "a TIFF of 32 bits");
  check_refused("signed", lie([](TiffTags& t) { t.format = 2; }), "sample format 2");
  check_refused("a thousand samples", lie([](TiffTags& t) { t.samples = 1000; }), "TIFF");
  check_refused("CMYK", lie([](TiffTags& t) { t.photometric = 5; }), "CMYK");
  check_refused("photometric 9999", lie([](TiffTags& t) { t.photometric = 9999; }), "photometric interpretation 9999");
  check_refused("compression 9999", lie([](TiffTags& t) { t.compression = 9999; }), "damaged as TIFF");
  check_refused("LZW that is none", lie([](TiffTags& t) { t.compression = 5; }), "damaged as TIFF");
  check_refused("deflate that is none", lie([](TiffTags& t) { t.compression = 8; }), "damaged as TIFF");
  check_refused("JPEG that is none", lie([](TiffTags& t) { t.compression = 7; }), "damaged as TIFF");
  check_refused("floats", file("float.tif"), "a TIFF of 32 bits");
  const std::string good = tiff_bytes(2, 3, six);
  check_refused("a directory beyond the end", with(good, 4, "\xF0\xFF\xFF\x7F"), "damaged as TIFF");
  check_refused("a directory in the header", with(good, 4, std::string("\2\0\0\0", 4)), "TIFF");
  check_refused("a directory of 65535 entries", with(good, 14, "\xFF\xFF"), "TIFF");
}

TEST_CASE("a TIFF whose pages go round in a circle is read") {
  std::string circle = tiff_bytes(2, 3, "\1\2\3\4\5\6");
  circle.replace(circle.size() - 4, 4, number_bytes(14, 4, false));
  CHECK(refusal(circle) == "");
}

TEST_CASE("images of one and of three rows or columns are read as they are") {
  for (const int64_t width : {1, 3, 500}) {
    for (const int64_t height : {1, 3}) {
      const TempDir folder;
      write_file_atomically(folder / "thin", png_bytes(height, width, 8, 0, std::string(size_t(height * width), '\7')));
      const LoadedImage loaded = load_image(folder / "thin");
      CHECK(loaded.image.size() == ImageSize{height, width});
      CHECK(loaded.image.channels() == 1);
    }
  }
}

TEST_CASE("a window that is none is refused before the file is opened") {
  ImageOptions options;
  options.window = WindowRule::given;
  for (const IntensityWindow window : {IntensityWindow{std::stod("nan"), 1}, IntensityWindow{3, 2}}) {
    options.given = window;
    CHECK(refusal(file("grey16.png"), options).find("needs two finite numbers") != std::string::npos);
  }
}

TEST_CASE("EXIF blocks that lead nowhere are passed over") {
  const std::string jpeg = file("grey.jpg");
  const auto with_exif = [&](const std::string& block) {
    const std::string body = std::string("Exif\0\0", 6) + block;
    return jpeg.substr(0, 2) + "\xFF\xE1" + number_bytes(body.size() + 2, 2, true) + body + jpeg.substr(2);
  };
  const std::string head("MM\0*\0\0\0\10", 8);
  const std::vector<std::string> blocks = {"",
                                           "MM",
                                           std::string("MM\0*\xFF\xFF\xFF\xFF", 8),
                                           head + "\xFF\xFF",
                                           head + std::string("\0\1\1\22\0\3\0\0\0\1\0\11\0\0", 14),
                                           head + std::string("\0\1\1\22\0\3\0\0\0\1", 10)};
  for (const std::string& block : blocks) CHECK(refusal(with_exif(block)) == "");
}

}  // namespace
}  // namespace sat::cli
