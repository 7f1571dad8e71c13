// Resizing gives the bits of Pillow and of OpenCV, and a part of the result is the same as in the whole.
#include "sat/io/images/resize.h"

#include <doctest/doctest.h>

#include "sat/io/files/file.h"
#include "sat/io/words/json.h"
#include "sat/tensor/context.h"
#include "tests/support/golden.h"

namespace sat {
namespace {

using namespace test;

Image8 noise(int64_t height, int64_t width, int64_t channels) {
  Image8 image({height, width}, channels);
  const std::vector<double> values =
      unit("image_" + std::to_string(height) + "x" + std::to_string(width) + "x" + std::to_string(channels),
           image.pixels.numel());
  for (size_t i = 0; i < values.size(); ++i) image.pixels.data<uint8_t>()[i] = uint8_t(256 * values[i]);
  return image;
}

Image8 resized(const Image8& image, const std::string& method, ImageSize to) {
  if (method == "pillow_bilinear") return resize_antialiased(image, to, ResizeFilter::bilinear);
  if (method == "pillow_bicubic") return resize_antialiased(image, to, ResizeFilter::bicubic);
  return method == "opencv_linear" ? resize_linear(image, to) : resize_nearest(image, to);
}

TEST_CASE("every recorded resize of Pillow and OpenCV comes out to the bit") {
  const std::string path = golden_path("images/resize.json");
  const Json records = Json::parse(read_text(path), path);
  CHECK(records.size() == 68);
  for (const Json& record : records.items()) {
    const std::vector<int64_t> from = record["from"].integers(), to = record["to"].integers();
    CAPTURE(record.dump());
    const Image8 result = resized(noise(from[0], from[1], from[2]), record["method"].string(), {to[0], to[1]});
    CHECK(result.size() == ImageSize{to[0], to[1]});
    const std::vector<int64_t> first = record["first"].integers();
    for (size_t i = 0; i < first.size(); ++i) CHECK(result.pixels.data<uint8_t>()[i] == first[i]);
    CHECK(crc32(result.pixels.data<uint8_t>(), result.pixels.numel()) == record["crc32"].integer());
  }
}

TEST_CASE("a part of a resized image has the pixels of the whole") {
  for (const int64_t channels : {1, 3}) {
    const Image8 image = noise(31, 17, channels);
    for (const ImageSize to : {ImageSize{64, 40}, ImageSize{9, 5}}) {
      const PixelBox part{to.height / 3, to.width / 4, to.height / 2, to.width / 2};
      const Image8 whole = resize_antialiased(image, to, ResizeFilter::bicubic);
      const Image8 some = resize_antialiased(image, to, ResizeFilter::bicubic, part);
      CHECK(mismatch(some.pixels, crop(whole, part).pixels, {}) == "");
    }
  }
}

TEST_CASE("before version 13 Pillow's horizontal pass came first, which shows in images that lose many rows") {
  const Image8 image = noise(200, 60, 1);
  const ImageSize to{140, 42};
  const Image8 now = resize_antialiased(image, to, ResizeFilter::bicubic);
  const Image8 before = resize_antialiased(image, to, ResizeFilter::bicubic, PassOrder::horizontal_first);
  CHECK(largest_difference(now.pixels, before.pixels) > 0);
  const PixelBox part{13, 5, 70, 30};
  const Image8 some = resize_antialiased(image, to, ResizeFilter::bicubic, part);
  CHECK(mismatch(some.pixels, crop(now, part).pixels, {}) == "");
}

TEST_CASE("resizing does not depend on the number of threads") {
  const Image8 image = noise(200, 333, 1);
  const Image8 alone = resize_antialiased(image, {100, 77}, ResizeFilter::bicubic);
  ContextOptions options;
  options.threads = 3;
  Context context(options);
  const UseContext use(context);
  CHECK(mismatch(resize_antialiased(image, {100, 77}, ResizeFilter::bicubic).pixels, alone.pixels, {}) == "");
}

TEST_CASE("a sliver grown to a million columns costs what its part costs") {
  const Image8 image = noise(1, 3000, 1);
  const ImageSize to = shortest_edge_size(image.size(), 518);
  CHECK(to == ImageSize{518, 1554000});
  const Image8 part = resize_antialiased(image, to, ResizeFilter::bicubic, {0, 776741, 518, 518});
  CHECK(part.size() == ImageSize{518, 518});
}

TEST_CASE("the longer side is cut off, not rounded") {
  CHECK(shortest_edge_size({700, 600}, 518) == ImageSize{604, 518});  // 604.33
  CHECK(shortest_edge_size({61, 37}, 518) == ImageSize{854, 518});
  CHECK(shortest_edge_size({2505, 2765}, 518) == ImageSize{518, 571});  // 571.76
  CHECK(shortest_edge_size({5, 5}, 224) == ImageSize{224, 224});
}

TEST_CASE("sizes and parts that make no sense are refused") {
  const Image8 image = noise(7, 5, 1);
  CHECK_THROWS_AS(resize_antialiased(image, {0, 5}, ResizeFilter::bilinear), Error);
  CHECK_THROWS_AS(resize_antialiased(image, {70000, 5}, ResizeFilter::bilinear), Error);
  CHECK_THROWS_AS(resize_antialiased(image, {9, 9}, ResizeFilter::bilinear, {5, 0, 5, 5}), Error);
  CHECK_THROWS_AS(resize_antialiased(image, {9, 9}, ResizeFilter::bilinear, {-1, 0, 5, 5}), Error);
  CHECK_THROWS_AS(resize_linear(image, {5, -1}), Error);
  CHECK_THROWS_AS(resize_nearest(image, {5, 0}), Error);
  CHECK_THROWS_AS(shortest_edge_size({0, 5}, 224), Error);
  CHECK_THROWS_AS(shortest_edge_size({5, 5}, 0), Error);
}

}  // namespace
}  // namespace sat
