// Previews: planes, orientation, tints and legend, read back from pixels: the claims of sat/io/pictures/preview.h.
#include "sat/io/pictures/preview.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "sat/io/masks/label_map.h"
#include "sat/io/pictures/bitmap_font.h"
#include "sat/io/scans/resample.h"
#include "sat/io/words/text.h"

using namespace sat;

namespace {

/// A box of anatomy in RAS order with a bright corner at the patient's right, front and top.
Volume scan_with_bright_corner() {
  Volume scan;
  scan.geometry.size = {30, 40, 20};
  scan.geometry.voxel_to_world_mm.m = {{{2, 0, 0, -30}, {0, 1.5, 0, -30}, {0, 0, 3, -30}, {0, 0, 0, 1}}};
  scan.voxels = full({30, 40, 20}, 0.4f);
  for (int64_t h = 15; h < 30; ++h) {
    for (int64_t w = 20; w < 40; ++w) {
      for (int64_t d = 10; d < 20; ++d) scan.voxels.data<float>()[(h * 40 + w) * 20 + d] = 1;
    }
  }
  return scan;
}

/// The same scan stored along other axes.
Volume turned(const Volume& scan, const std::string& code) {
  const AxisOrder order = axis_order(scan.geometry.voxel_to_world_mm, code);
  SpacedGrid grid;
  grid.geometry = reorient(scan.geometry, order);
  return {resample(scan.voxels, order, grid), grid.geometry};
}

Colour pixel(const Tensor& image, int64_t x, int64_t y) {
  const uint8_t* at = image.data<uint8_t>() + (y * image.shape[1] + x) * 3;
  return {at[0], at[1], at[2]};
}

/// Panels of scan_with_bright_corner(): all sides are 60 mm, so 380 pixels, with 14 between.
constexpr int64_t kSide = 380, kGap = 14;

bool is_bright(const Tensor& image, int64_t panel, double right, double down) {
  const int64_t x = kGap + panel * (kSide + kGap) + int64_t(right * kSide), y = kGap + int64_t(down * kSide);
  return pixel(image, x, y)[0] > 200;
}

}  // namespace

TEST_CASE("planes are shown the radiological way, whatever the order of the file's axes") {
  const Volume scan = scan_with_bright_corner();
  for (const char* code : {"RAS", "LPS", "PSR", "IAL", "SRP"}) {
    CAPTURE(code);
    const Volume stored = turned(scan, code);
    REQUIRE(orientation_code(stored.geometry.voxel_to_world_mm) == code);
    BitMasks masks(stored.geometry.size, 1);
    const Tensor image = preview(stored, masks, {"nothing"}, {0, 1});
    // The middle planes, whose index is size / 2, may fall to either side of the edge of the bright corner.
    const PreviewPlanes planes = preview_planes(masks);
    const auto value = [&](std::array<double, 3> mm) {
      const std::array<double, 3> at = sat::apply(inverse(stored.geometry.voxel_to_world_mm), mm);
      const auto& s = stored.voxels.shape;
      return stored.voxels.data<float>()[(std::lround(at[0]) * s[1] + std::lround(at[1])) * s[2] + std::lround(at[2])];
    };
    std::array<double, 3> voxel{};
    for (size_t axis = 0; axis < 3; ++axis) voxel[axis] = double(planes.voxel[axis]);
    const std::array<double, 3> cut = sat::apply(stored.geometry.voxel_to_world_mm, voxel);
    const double right = 15, left = -15, front = 15, back = -15, top = 12, bottom = -15;
    const struct {
      int64_t panel;
      double x, y;
      std::array<double, 3> mm;
    } spots[] = {{0, .25, .25, {right, front, cut[2]}}, {0, .75, .25, {left, front, cut[2]}},
                 {0, .25, .75, {right, back, cut[2]}},  {1, .25, .25, {right, cut[1], top}},
                 {1, .75, .25, {left, cut[1], top}},    {1, .25, .75, {right, cut[1], bottom}},
                 {2, .25, .25, {cut[0], front, top}},   {2, .75, .25, {cut[0], back, top}},
                 {2, .25, .75, {cut[0], front, bottom}}};
    for (const auto& spot : spots) {
      CAPTURE(spot.panel);
      CAPTURE(spot.x);
      CAPTURE(spot.y);
      CHECK(is_bright(image, spot.panel, spot.x, spot.y) == (value(spot.mm) > 0.5f));
    }
  }
}

TEST_CASE("panels keep the proportions in millimetres") {
  Volume scan;
  scan.geometry.size = {40, 20, 10};
  scan.geometry.voxel_to_world_mm.m = {{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, 1}}};
  scan.voxels = full({40, 20, 10}, 1);
  const Tensor image = preview(scan, BitMasks(scan.geometry.size, 1), {"x"}, {0, 1});
  // 40 x 20 x 30 mm: the axial panel is 460 wide, so 230 high; the coronal 460 x 345; the sagittal 253 x 380.
  const auto white = [&](int64_t x, int64_t y) { return pixel(image, x, y)[0] == 255; };
  const auto run = [&](int64_t x, int64_t y, int64_t step_x, int64_t step_y) {
    int64_t length = 0;
    for (; white(x, y); x += step_x, y += step_y) ++length;
    return length;
  };
  const int64_t axial_top = kGap + (380 - 230) / 2, coronal_top = kGap + (380 - 345) / 2;
  CHECK(run(kGap, axial_top, 1, 0) == 460);
  CHECK(run(kGap + 100, axial_top, 0, 1) == 230);
  CHECK(run(kGap + 460 + kGap, coronal_top, 1, 0) == 460);
  CHECK(run(kGap + 460 + kGap + 100, coronal_top, 0, 1) == 345);
  CHECK(run(kGap + 2 * (460 + kGap) + 100, kGap, 0, 1) == 380);
}

TEST_CASE("air around the patient is cut away") {
  Volume scan;
  scan.geometry.size = {100, 100, 100};
  scan.voxels = zeros({100, 100, 100});
  for (int64_t h = 40; h < 60; ++h) {
    for (int64_t w = 70; w < 90; ++w) {
      for (int64_t d = 20; d < 40; ++d) scan.voxels.data<float>()[(h * 100 + w) * 100 + d] = 1;
    }
  }
  BitMasks masks(scan.geometry.size, 1);
  masks.set(0, 50, 80, 30);
  const Tensor image = preview(scan, masks, {"x"}, {0, 1});
  CHECK(is_bright(image, 0, 0.1, 0.1));  // the cube with a border of one voxel fills all panels
  CHECK(is_bright(image, 2, 0.9, 0.9));
  CHECK_FALSE(is_bright(image, 1, 0.01, 0.5));
}

TEST_CASE("masks tint the scan, with an outline in full colour, and the smaller one lies on top") {
  Volume scan = scan_with_bright_corner();
  std::fill_n(scan.voxels.data<float>(), scan.voxels.numel(), 0.f);
  BitMasks masks(scan.geometry.size, 2);
  for (int64_t h = 5; h < 25; ++h) {
    for (int64_t w = 5; w < 35; ++w) {
      for (int64_t d = 5; d < 15; ++d) {
        masks.set(1, h, w, d);
        if (h >= 10 && h < 20 && w >= 15 && w < 25) masks.set(0, h, w, d);
      }
    }
  }
  const Tensor image = preview(scan, masks, {"small", "large"}, {0, 1});
  const auto tinted = [](int64_t prompt) {
    Colour colour = label_colour(prompt);
    for (uint8_t& channel : colour) channel = uint8_t(std::lround(0.36 * channel));
    return colour;
  };
  const int64_t middle = kGap + kSide / 2;
  CHECK(pixel(image, kGap + kSide / 6, middle) == tinted(1));
  int64_t outlines = 0;
  for (int64_t x = kGap; x < kGap + kSide; ++x) {
    if (pixel(image, x, middle + 30) == label_colour(0)) ++outlines;
    if (pixel(image, x, middle + 30) == label_colour(1)) ++outlines;
  }
  CHECK(outlines == 4);  // two edges of each
}

TEST_CASE("planes go where most structures are seen, and to the middle when there are none") {
  BitMasks masks({20, 20, 20}, 3);
  CHECK(preview_planes(masks).voxel == std::array<int64_t, 3>{10, 10, 10});
  for (int64_t i = 0; i < 4; ++i) {
    masks.set(0, 3, 4 + i, 5);
    masks.set(1, 3, 12 + i, 5);
    masks.set(2, 17, 4 + i, 5);
  }
  const PreviewPlanes planes = preview_planes(masks);
  CHECK(planes.voxel[0] == 3);
  CHECK(planes.voxel[1] == 7);
  CHECK(planes.voxel[2] == 5);
}

TEST_CASE("display windows: soft tissue for CT, percentiles without the background elsewhere") {
  Volume scan;
  scan.geometry.size = {10, 10, 20};
  scan.voxels = zeros({10, 10, 20});
  for (int64_t v = 1000; v < 2000; ++v) scan.voxels.data<float>()[v] = float(v);
  CHECK(display_window(scan, "CT").low == -160);
  CHECK(display_window(scan, "CT").high == 240);
  CHECK(display_window(scan, "mri").low == doctest::Approx(1010).epsilon(0.001));
  CHECK(display_window(scan, "mri").high == doctest::Approx(1994).epsilon(0.001));
  std::fill_n(scan.voxels.data<float>(), 2000, 5.f);
  CHECK(display_window(scan, "mri").high > display_window(scan, "mri").low);
}

TEST_CASE("hundreds of long names and a whole body still give a picture of reasonable size") {
  Volume scan;
  scan.geometry.size = {8, 8, 300};
  scan.geometry.voxel_to_world_mm.m = {{{50, 0, 0, 0}, {0, 40, 0, 0}, {0, 0, 5, 0}, {0, 0, 0, 1}}};
  scan.voxels = zeros({8, 8, 300});
  BitMasks masks(scan.geometry.size, 300);
  const Tensor image = preview(scan, masks, std::vector<std::string>(300, std::string(200, 'w') + "\u00E9"), {0, 1});
  CHECK(image.shape[0] < 2500);
  CHECK(image.shape[1] < 2500);
  CHECK_THROWS_WITH_AS(preview(scan, masks, {"one"}, {0, 1}), doctest::Contains("1 names for 300 masks"), Error);
}

TEST_CASE("every printable character has a glyph of its own, accents fold, and the rest is a box") {
  const auto drawn = [](const std::string& text) {
    Tensor image = zeros({12, 8, 3}, DType::u8);
    draw_text(image, 1, 1, text, 1, {255, 255, 255});
    return std::string(reinterpret_cast<const char*>(image.data<uint8_t>()), size_t(image.numel()));
  };
  std::vector<std::string> glyphs;
  for (char c = ' '; c < 0x7F; ++c) glyphs.push_back(drawn(std::string(1, c)));
  std::sort(glyphs.begin(), glyphs.end());
  CHECK(std::adjacent_find(glyphs.begin(), glyphs.end()) == glyphs.end());
  CHECK(drawn("\u00E9") == drawn("e"));
  CHECK(drawn("\u809D") == drawn("\u5FC3"));
  CHECK(text_width("ab\u00E9", 2) == 36);
}

TEST_CASE("a name that is too long for its place is cut between characters, and figures have no locale") {
  CHECK(shortened("left kidney", 11) == "left kidney");
  CHECK(shortened("left kidney", 10) == "left kid..");
  CHECK(shortened("\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F", 4) == "\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F");
  CHECK(shortened("\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F", 3) == "\xC3\xA4..");
  CHECK(fixed(1234.567, 1) == "1234.6");
  CHECK(fixed(-0.5, 3) == "-0.500");
  CHECK(significant(2.3456, 3) == "2.35");
  CHECK(significant(600, 4) == "600");
  CHECK(fixed(1e300, 0).size() == 301);
}

TEST_CASE("an unknown orientation is said below the pictures, which then carry no letters") {
  const Volume scan = scan_with_bright_corner();
  BitMasks masks({30, 40, 20}, 1);
  masks.set(0, 15, 20, 10);
  const Tensor known = preview(scan, masks, {"a"}, {0, 1}), unknown = preview(scan, masks, {"a"}, {0, 1}, {false});
  CHECK(unknown.shape[0] == known.shape[0] + kLineHeight);
  const auto is_warning = [](const Colour& c) { return c[0] > 200 && c[1] > 130 && c[2] < 110; };
  int64_t warned = 0, letters = 0;
  for (int64_t y = 0; y < known.shape[0]; ++y) {
    for (int64_t x = 0; x < std::min(known.shape[1], unknown.shape[1]); ++x) {
      warned += is_warning(pixel(unknown, x, y)) && !is_warning(pixel(known, x, y));
      letters += y < kSide && x < 20 && pixel(unknown, x, y) != pixel(known, x, y);
    }
  }
  CHECK(warned > 300);
  CHECK(letters > 10);
}
