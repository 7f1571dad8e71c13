// DICOM files of every kind that is read give their values by the stated rules, and all others one sentence.
#include <doctest/doctest.h>

#include "examples/sat/images/load_image.h"
#include "sat/io/files/file.h"
#include "tests/support/golden.h"
#include "tests/support/images/dicom_bytes.h"

namespace sat::cli {
namespace {

using namespace test;

LoadedImage loaded(const std::string& bytes, const std::string& window = "range") {
  const TempDir folder;
  write_file_atomically(folder / "scan", bytes);
  ImageOptions options;
  read_window(window, options);
  return load_image(folder / "scan", options);
}

std::vector<int> values_in(const std::string& bytes, const std::string& window = "range") {
  const Image8 image = loaded(bytes, window).image;
  const uint8_t* pixels = image.pixels.data<uint8_t>();
  return {pixels, pixels + image.pixels.numel()};
}

std::string refusal(const std::string& bytes) {
  try {
    loaded(bytes);
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.find('\n') == std::string::npos);
    return message.substr(message.find(": ") + 2);
  }
  return "";
}

DicomImage row_of(const std::vector<int>& values) {
  DicomImage image;
  image.columns = int(values.size());
  image.pixels = wide_pixels(values);
  return image;
}

TEST_CASE("values go from their least to their greatest, after slope and intercept, and MONOCHROME1 is inverted") {
  DicomImage image = row_of({0, 100, 1000});
  CHECK(values_in(image.bytes()) == std::vector<int>{0, 26, 255});
  image.photometric = "MONOCHROME1";
  CHECK(values_in(image.bytes()) == std::vector<int>{255, 229, 0});
  image.photometric = "MONOCHROME2";
  image.slope = "2";
  image.intercept = "-1000";
  const LoadedImage scaled = loaded(image.bytes());
  CHECK(scaled.facts.window->low == -1000);
  CHECK(scaled.facts.window->high == 1000);
  CHECK(scaled.facts.format == "DICOM");
  CHECK(values_in(image.bytes(), "0,255") == std::vector<int>{0, 0, 255});
  CHECK(values_in(image.bytes(), "saturate") == std::vector<int>{0, 0, 255});
}

TEST_CASE("signed values, 12 bits among others, and 8 bits are told apart from what surrounds them") {
  DicomImage image = row_of({-5, 0, 5});
  image.is_signed = 1;
  CHECK(loaded(image.bytes()).facts.window->low == -5);
  image = row_of({0xF123, 0x0123, 0xFFFF});
  image.bits = 12;
  image.high_bit = 11;
  CHECK(loaded(image.bytes()).facts.window->low == 0x123);
  CHECK(loaded(image.bytes()).facts.window->high == 0xFFF);
  image.is_signed = 1;
  CHECK(loaded(image.bytes()).facts.window->low == -1);
  image = row_of({0x1230, 0x4560});
  image.bits = 12;
  CHECK(loaded(image.bytes()).facts.window->high == 0x456);
  image = DicomImage();
  image.columns = 3;
  image.allocated = image.bits = 8;
  image.high_bit = 7;
  image.pixels = "\1\2\5";
  CHECK(values_in(image.bytes()) == std::vector<int>{0, 64, 255});
}

TEST_CASE("a file's own window is linear as the standard has it, and other kinds of window are warned of") {
  DicomImage image = row_of({0, 99, 100, 150, 199, 200, 4000});
  image.centre = "150";
  image.width = "101";
  CHECK(values_in(image.bytes(), "dicom") == std::vector<int>{0, 0, 1, 129, 254, 255, 255});
  image.function = "LINEAR_EXACT";
  image.width = "100";
  CHECK(values_in(image.bytes(), "dicom") == std::vector<int>{0, 0, 0, 128, 252, 255, 255});
  image.function = "SIGMOID";
  LoadedImage other = loaded(image.bytes(), "dicom");
  CHECK(other.facts.rule == WindowRule::range);
  CHECK(other.warnings.size() == 2);
  image.function = "";
  for (const char* width : {"0", "-3", "nan", "", "1e999"}) {
    image.width = width;
    other = loaded(image.bytes(), "dicom");
    CHECK(other.facts.rule == WindowRule::range);
  }
}

TEST_CASE("what no radiograph is, or what lies, is refused") {
  const auto refused = [](auto change, const std::string& words) {
    DicomImage image = row_of({0, 1, 2, 3, 4, 5});
    change(image);
    const std::string message = refusal(image.bytes());
    CAPTURE(message);
    CHECK(message.find(words) != std::string::npos);
  };
  refused([](DicomImage& d) { d.frames = "2"; }, "of 2 frames");
  refused([](DicomImage& d) { d.frames = "0"; }, "of 0 frames");
  refused([](DicomImage& d) { d.samples = 3; }, "of 3 samples a pixel");
  refused([](DicomImage& d) { d.photometric = "PALETTE COLOR"; }, "'PALETTE COLOR'");
  refused([](DicomImage& d) { d.photometric = ""; }, "MONOCHROME1 and MONOCHROME2 are read");
  refused([](DicomImage& d) { d.rows = 0; }, "each side must be 1");
  refused([](DicomImage& d) { d.rows = d.columns = 65535; }, "4294836225 in all");
  refused([](DicomImage& d) { d.rows = 7; }, "need 84 bytes, and there are 12");
  refused([](DicomImage& d) { d.allocated = 32; }, "in 32");
  refused([](DicomImage& d) { d.bits = 0; }, "of 0 bits");
  refused([](DicomImage& d) { d.bits = 17; }, "of 17 bits");
  refused([](DicomImage& d) { d.high_bit = 16; }, "the highest being 16");
  refused([](DicomImage& d) { d.high_bit = 3; }, "the highest being 3");
  refused([](DicomImage& d) { d.syntax = "1.2.840.10008.1.2.4.90"; }, "DICOM");  // JPEG 2000, which this is not
  refused([](DicomImage& d) { d.syntax = "1.2.840.10008.1.2.4.50"; }, "DICOM");  // JPEG, which this is not
  refused([](DicomImage& d) { d.syntax = "1.2.840.10008.1.2.5"; }, "DICOM");     // run lengths
  refused([](DicomImage& d) { d.syntax = "1.2.840.10008.1.2.1.99"; }, "deflated as a whole");
  refused([](DicomImage& d) { d.pixels.clear(); }, "DICOM");
  refused([](DicomImage& d) { d.slope = "1e300"; }, "not finite");
}

TEST_CASE("an element that says it holds gigabytes, and items within items without end, are refused") {
  const std::string good = row_of({0, 1}).bytes();
  std::string bytes = good;
  bytes.replace(bytes.size() - 8, 4, "\xFF\xFF\xFF\xC0");
  CHECK(refusal(bytes).find("damaged as DICOM") == 0);
  const size_t pixels = good.size() - 16;
  std::string nested;
  for (int i = 0; i < 100000; ++i) {
    nested += number_bytes(0x8, 2, false) + number_bytes(0x1115, 2, false) + "SQ" + std::string(2, '\0') +
              std::string(4, '\xFF') + number_bytes(0xFFFE, 2, false) + number_bytes(0xE000, 2, false) +
              std::string(4, '\xFF');
  }
  CHECK(refusal(good.substr(0, pixels) + nested).find("more than 2000 items") != std::string::npos);
  CHECK(refusal(good.substr(0, pixels) + nested.substr(0, 20 * 1900)).find("damaged as DICOM") == 0);
}

TEST_CASE("a DICOM file cut off or changed anywhere ends in an image or in a sentence") {
  const std::string bytes = row_of({0, 1, 2, 3, 4, 5}).bytes();
  CHECK(refusal(bytes) == "");
  for (size_t length = 132; length < bytes.size(); length += 3) CHECK(refusal(bytes.substr(0, length)) != "");
  for (size_t at = 132; at < bytes.size(); at += 5) {
    for (const char value : {'\0', '\x7F', '\xFF'}) {
      std::string changed = bytes;
      changed[at] = value;
      refusal(changed);
    }
  }
}

}  // namespace
}  // namespace sat::cli
