// Every kind of PNG, JPEG and TIFF gives the values that are in it, and 8 bits are made of them by the stated rules.
#include "examples/sat/images/load_image.h"

#include <doctest/doctest.h>

#include "sat/io/files/file.h"
#include "sat/io/pictures/png.h"
#include "tests/support/golden.h"
#include "tests/support/images/image_bytes.h"

namespace sat::cli {
namespace {

using namespace test;

std::string file(const std::string& name) { return golden_path("images/files/" + name); }

uint32_t crc_of(const Image8& image) { return crc32(image.pixels.data<uint8_t>(), image.pixels.numel()); }

std::vector<int> values_of(const Image8& image) {
  const uint8_t* pixels = image.pixels.data<uint8_t>();
  return {pixels, pixels + image.pixels.numel()};
}

std::vector<int> values_in(const std::string& bytes, const ImageOptions& options = {}) {
  const TempDir folder;
  write_file_atomically(folder / "image", bytes);
  return values_of(load_image(folder / "image", options).image);
}

TEST_CASE("every recorded file gives its pixels and facts") {
  const std::string path = golden_path("images/files.json");
  const Json records = Json::parse(read_text(path), path);
  CHECK(records.size() == 39);
  for (const Json& record : records.items()) {
    CAPTURE(record.dump());
    ImageOptions options;
    options.exif = true;
    const LoadedImage loaded = load_image(file(record["file"].string()), options);
    const Json* orientation = record.find("orientation");
    const std::vector<int64_t> size = record["size"].integers();
    CHECK(loaded.facts.photometric == record["photometric"].string());
    CHECK(loaded.facts.bits == record["bits"].integer());
    CHECK(loaded.facts.orientation == (orientation ? orientation->integer() : 1));
    if (record["file"].string() == "turned.jpg") continue;  // Pillow has it lying; see below
    CHECK(loaded.image.size() == ImageSize{size[0], size[1]});
    if (const Json* rgb = record.find("rgb")) {
      CHECK(crc_of(to_rgb(loaded.image)) == rgb->integer());
      CHECK_FALSE(loaded.facts.window);
      continue;
    }
    CHECK(crc_of(loaded.image) == record["range"].integer());
    CHECK(loaded.facts.rule == WindowRule::range);
    options.window = WindowRule::saturate;
    CHECK(crc_of(load_image(file(record["file"].string()), options).image) == record["saturated"].integer());
  }
}

TEST_CASE("EXIF's orientation is warned of, and applied where that was asked for") {
  const std::string path = golden_path("images/files.json");
  ImageOptions options;
  const LoadedImage lying = load_image(file("turned.jpg"), options);
  CHECK(lying.image.size() == ImageSize{29, 37});
  CHECK(lying.warnings.size() == 1);
  CHECK_FALSE(lying.facts.turned);
  options.exif = true;
  const LoadedImage upright = load_image(file("turned.jpg"), options);
  CHECK(upright.image.size() == ImageSize{37, 29});
  CHECK(upright.warnings.empty());
  CHECK(upright.facts.turned);
  // Orientation 6: the stored image's left column is the upright one's top row, its lowest pixel first.
  for (int64_t x = 0; x < 29; ++x) {
    CHECK(upright.image.pixels.data<uint8_t>()[x] == lying.image.pixels.data<uint8_t>()[(28 - x) * 37]);
  }
}

TEST_CASE("each of the eight orientations puts the pixels where EXIF says") {
  // 2 x 3 pixels: 1 2 3 / 4 5 6.
  const std::vector<std::vector<int>> upright = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1},
                                                 {4, 5, 6, 1, 2, 3}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3},
                                                 {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    TiffTags tags;
    tags.orientation = orientation;
    CHECK(values_in(tiff_bytes(2, 3, "\1\2\3\4\5\6", tags)) == upright[size_t(orientation - 1)]);
  }
}

TEST_CASE("a format is known by its bytes, whatever the name") {
  const TempDir folder;
  write_file_atomically(folder / "photograph.jpg", read_text(file("grey8.png")));
  CHECK(load_image(folder / "photograph.jpg").facts.format == "PNG");
}

TEST_CASE("a window that was given is used for 16 bits, and for 8 warned of") {
  ImageOptions options;
  read_window("100,355", options);
  const std::string deep("\0\0\0\144\0\145\1\0\1\143\377\377", 12);  // 0 100 101 256 355 65535
  CHECK(values_in(png_bytes(1, 6, 16, 0, deep), options) == std::vector<int>{0, 0, 1, 156, 255, 255});
  CHECK(values_in(png_bytes(1, 3, 8, 0, "\12\144\310"), options) == std::vector<int>{10, 100, 200});
  CHECK(load_image(file("grey8.png"), options).warnings.size() == 1);
}

TEST_CASE("where minimum is white, values are inverted after the window") {
  TiffTags tags;
  tags.bits = 16;
  tags.photometric = 0;
  const std::string deep("\0\0\144\0\350\3", 6);  // 0 100 1000, little endian
  CHECK(values_in(tiff_bytes(1, 3, deep, tags)) == std::vector<int>{255, 229, 0});
}

TEST_CASE("16 bits that are all equal become 0, with a warning; by saturation they stay what they are") {
  const TempDir folder;
  const std::string deep("\0\7\0\7\0\7\0\7", 8);
  write_file_atomically(folder / "flat.png", png_bytes(2, 2, 16, 0, deep));
  const LoadedImage loaded = load_image(folder / "flat.png");
  CHECK(values_of(loaded.image) == std::vector<int>{0, 0, 0, 0});
  CHECK(loaded.warnings == std::vector<std::string>{"all its values are equal"});
  ImageOptions options;
  options.window = WindowRule::saturate;
  CHECK(values_of(load_image(folder / "flat.png", options).image) == std::vector<int>{7, 7, 7, 7});
}

TEST_CASE("a file that asks for no window gets its range, and a warning, where the file's was wanted") {
  ImageOptions options;
  read_window("dicom", options);
  const LoadedImage loaded = load_image(file("grey16.png"), options);
  CHECK(loaded.facts.rule == WindowRule::range);
  CHECK(loaded.warnings.size() == 1);
}

TEST_CASE("windows are spelled as documented, and nothing else") {
  ImageOptions options;
  for (const char* text : {"range", "dicom", "saturate"}) {
    read_window(text, options);
    CHECK(std::string(name_of(options.window)) == text);
  }
  read_window("-600.5,1e3", options);
  CHECK(options.window == WindowRule::given);
  CHECK(options.given.low == -600.5);
  CHECK(options.given.high == 1000);
  for (const char* text : {"", "1", "1,", ",2", "1,2,3", "a,b", "2,1", "nan,1", "0,inf", "1 ,2", "Range"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read_window(text, options), Error);
  }
}

TEST_CASE("what the library's own writer wrote is read back") {
  const TempDir folder;
  for (const int64_t channels : {1, 3}) {
    Tensor pixels({20, 30, channels}, DType::u8);
    const std::vector<double> noise = unit("pixels", pixels.numel());
    for (size_t i = 0; i < noise.size(); ++i) pixels.data<uint8_t>()[i] = uint8_t(256 * noise[i]);
    write_png(folder / "picture.png", pixels);
    CHECK(mismatch(load_image(folder / "picture.png").image.pixels, pixels, {}) == "");
  }
}

TEST_CASE("facts say what was met and which window was used") {
  ImageOptions options;
  read_window("0,4095", options);
  const Json facts = to_json(load_image(file("deep_big.tif"), options).facts);
  CHECK(facts.dump() ==
        R"({"format":"TIFF","photometric":"grey","bits":16,"height":13,"width":19,"channels":1,"orientation":1,)"
        R"("turned":false,"window":{"rule":"given","low":0,"high":4095}})");
}

}  // namespace
}  // namespace sat::cli
