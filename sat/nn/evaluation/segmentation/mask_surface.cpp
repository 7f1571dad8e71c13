// Surface elements 64 places at a time, and the table of their areas.
#include "sat/nn/evaluation/segmentation/mask_surface.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "sat/io/masks/bit_blocks.h"
#include "sat/tensor/error.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

/// Codes that share their normals. A code and its complement do, so those below 128 stand for all.
struct SurfaceClass {
  std::array<int, 4> normals;     // up to four, their components as three decimal digits
  std::array<uint8_t, 16> codes;  // up to sixteen
};

constexpr SurfaceClass kClasses[] = {
    {{111}, {1, 2, 4, 8, 16, 32, 64, 127}},
    {{220, 220}, {3, 12, 48, 63}},
    {{202, 202}, {5, 10, 80, 95}},
    {{111, 111}, {6, 9, 18, 20, 24, 33, 36, 40, 65, 66, 72, 96, 111, 123, 125, 126}},
    {{111, 222, 400}, {7, 11, 13, 14, 31, 47, 79, 112}},
    {{400, 400}, {15}},
    {{22, 22}, {17, 34, 68, 119}},
    {{40, 111, 222}, {19, 35, 49, 50, 55, 59, 76, 115}},
    {{4, 111, 222}, {21, 42, 69, 81, 84, 87, 93, 117}},
    {{111, 111, 111}, {22, 41, 73, 97, 104, 107, 109, 121}},
    {{111, 111, 222, 222}, {23, 43, 77, 113}},
    {{22, 22, 111}, {25, 38, 70, 98, 100, 103, 110, 118}},
    {{111, 202, 202}, {26, 37, 74, 82, 88, 91, 94, 122}},
    {{22, 111, 202, 333}, {27, 39, 78, 114}},
    {{111, 220, 220}, {28, 44, 52, 56, 61, 62, 67, 124}},
    {{22, 111, 220, 333}, {29, 46, 71, 116}},
    {{111, 111, 222, 400}, {30, 45, 75, 120}},
    {{40, 40}, {51}},
    {{111, 202, 220, 333}, {53, 58, 83, 92}},
    {{40, 111, 111, 222}, {54, 57, 99, 108}},
    {{220, 220, 220, 220}, {60}},
    {{4, 4}, {85}},
    {{4, 111, 111, 222}, {86, 89, 101, 106}},
    {{202, 202, 202, 202}, {90}},
    {{22, 22, 22, 22}, {102}},
    {{111, 111, 111, 111}, {105}},
};

/// The lines of one plane within a box, each on whole words, with an empty line before and behind.
class PlaneLines {
 public:
  PlaneLines(const BitMasks& masks, const VoxelBox& box)
      : masks_(&masks),
        box_(box),
        lines_(box.end[1] - box.start[1]),
        words_(divide_up(box.end[2] - box.start[2] + 1, 64)),
        bits_(size_t((lines_ + 2) * words_), 0) {}

  void read(int64_t prompt, int64_t h) {
    std::fill(bits_.begin(), bits_.end(), 0);
    if (h < box_.start[0] || h >= box_.end[0]) return;
    const uint8_t* plane = masks_->plane(prompt, h);
    const int64_t plane_words = masks_->plane_bytes / 8, length = box_.end[2] - box_.start[2];
    for (int64_t line = 0; line < lines_; ++line) {
      const int64_t start = (box_.start[1] + line) * masks_->size[2] + box_.start[2];
      for (int64_t done = 0; done < length; done += 64) {
        bits_[size_t((line + 1) * words_ + done / 64)] =
            bits_from(plane, plane_words, start + done) & low_bits(std::min<int64_t>(64, length - done));
      }
    }
  }

  int64_t lines() const { return lines_; }
  int64_t words() const { return words_; }
  const uint64_t* line(int64_t at) const { return bits_.data() + (at + 1) * words_; }  // from -1 to lines()

 private:
  const BitMasks* masks_;
  VoxelBox box_;
  int64_t lines_, words_;
  std::vector<uint64_t> bits_;
};

/// The elements of all places of one h; `below` and `above` are the planes h - 1 and h.
void append_elements(std::vector<SurfaceElement>& elements, const PlaneLines& below, const PlaneLines& above,
                     const VoxelBox& box, int64_t h) {
  for (int64_t w = 0; w <= above.lines(); ++w) {
    const std::array<const uint64_t*, 4> lines{below.line(w - 1), below.line(w), above.line(w - 1), above.line(w)};
    for (int64_t word = 0; word < above.words(); ++word) {
      std::array<uint64_t, 8> corners;  // the order of the code's bits, highest first
      uint64_t any = 0, all = ~uint64_t(0);
      for (size_t i = 0; i < 4; ++i) {
        const uint64_t here = lines[i][word], before = word > 0 ? lines[i][word - 1] >> 63 : 0;
        corners[2 * i] = here << 1 | before;
        corners[2 * i + 1] = here;
        any |= corners[2 * i] | here;
        all &= corners[2 * i] & here;
      }
      for (uint64_t left = any & ~all; left != 0; left &= left - 1) {
        const int bit = std::countr_zero(left);
        unsigned code = 0;
        for (const uint64_t corner : corners) code = code << 1 | unsigned(corner >> bit & 1);
        elements.push_back(
            {int32_t(h), int32_t(box.start[1] + w), int32_t(box.start[2] + word * 64 + bit), uint8_t(code)});
      }
    }
  }
}

}  // namespace

std::vector<SurfaceElement> surface_of(const BitMasks& masks, int64_t prompt) {
  for (const int64_t size : masks.size) {
    SAT_CHECK(size < std::numeric_limits<int32_t>::max(), "surface_of: a mask of ", size, " voxels along an axis");
  }
  const VoxelBox box = masks.bounding_box(prompt);
  if (box.empty()) return {};
  constexpr int64_t kPlanesAtOnce = 8;
  const int64_t planes = box.end[0] - box.start[0] + 1;
  std::vector<std::vector<SurfaceElement>> pieces(size_t(divide_up(planes, kPlanesAtOnce)));
  parallel_for(planes, kPlanesAtOnce, [&](int64_t first, int64_t last) {
    PlaneLines below(masks, box), above(masks, box);
    above.read(prompt, box.start[0] + first - 1);
    for (int64_t plane = first; plane < last; ++plane) {
      const int64_t h = box.start[0] + plane;
      std::swap(below, above);
      above.read(prompt, h);
      append_elements(pieces[size_t(first / kPlanesAtOnce)], below, above, box, h);
    }
  });
  std::vector<SurfaceElement> elements;
  size_t count = 0;
  for (const auto& piece : pieces) count += piece.size();
  elements.reserve(count);
  for (const auto& piece : pieces) elements.insert(elements.end(), piece.begin(), piece.end());
  return elements;
}

std::array<double, 256> surface_areas(const std::array<double, 3>& spacing_mm) {
  const auto [s0, s1, s2] = spacing_mm;
  std::array<double, 256> areas{};
  for (const SurfaceClass& one : kClasses) {
    double area = 0;
    for (const int normal : one.normals) {
      const double n0 = normal / 100, n1 = normal / 10 % 10, n2 = normal % 10;
      area += std::hypot(n0 * s1 * s2, n1 * s0 * s2, n2 * s0 * s1) / 8;
    }
    for (const uint8_t code : one.codes) {
      if (code != 0) areas[code] = areas[255 - code] = area;
    }
  }
  return areas;
}

}  // namespace sat
