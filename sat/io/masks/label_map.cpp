// Masks are painted from the smallest to the largest, 64 voxels at a time, so that no voxel is written twice.
#include "sat/io/masks/label_map.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "sat/io/masks/bit_blocks.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kMostPieces = 64;  // each counts for itself

/// Paints the labels and returns how many voxels carry each. Of the masks at a voxel the first of `order` wins.
template <class T>
std::vector<int64_t> paint(const BitMasks& masks, const std::vector<int64_t>& order, T* labels) {
  const int64_t plane_voxels = masks.size[1] * masks.size[2], grain = divide_up(masks.size[0], kMostPieces);
  std::vector<std::vector<int64_t>> counts(size_t(divide_up(masks.size[0], grain)));
  parallel_for(masks.size[0], grain, [&](int64_t first, int64_t last) {
    std::vector<int64_t> mine(size_t(masks.prompts));
    for (int64_t h = first; h < last; ++h) {
      T* out = labels + h * plane_voxels;
      std::fill(out, out + plane_voxels, T(0));
      for (int64_t byte = 0; byte < masks.plane_bytes; byte += 8) {
        uint64_t free = ~uint64_t(0);  // voxels that have no label yet
        for (size_t i = 0; i < order.size() && free != 0; ++i) {
          uint64_t bits;
          std::memcpy(&bits, masks.plane(order[i], h) + byte, sizeof bits);
          bits &= free;
          if (bits == 0) continue;
          free ^= bits;
          mine[size_t(order[i])] += count_bits(bits);
          const T label = T(order[i] + 1);
          for (; bits != 0; bits &= bits - 1) out[byte * 8 + std::countr_zero(bits)] = label;
        }
      }
    }
    counts[size_t(first / grain)] = std::move(mine);
  });
  std::vector<int64_t> total(size_t(masks.prompts));
  for (const std::vector<int64_t>& of_piece : counts) {
    std::transform(total.begin(), total.end(), of_piece.begin(), total.begin(), std::plus<>());
  }
  return total;
}

/// Hue in turns, saturation and value in 0..1.
std::array<uint8_t, 3> from_hsv(double hue, double saturation, double value) {
  std::array<uint8_t, 3> rgb{};
  for (size_t channel = 0; channel < 3; ++channel) {
    const double turned = std::fmod(hue * 6 + 5 - 2 * double(channel) + 12, 6);
    const double dip = std::clamp(std::min(turned, 4 - turned), 0.0, 1.0);
    rgb[channel] = uint8_t(std::lround(255 * value * (1 - saturation * dip)));
  }
  return rgb;
}

/// Inside a quoted name of an ITK-SNAP file nothing can be escaped.
std::string plain_name(const std::string& name) {
  std::string plain = name;
  for (char& c : plain) {
    if (c == '"') c = '\'';
    if (uint8_t(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return plain;
}

}  // namespace

LabelMap label_map(const BitMasks& masks) {
  LabelMap map;
  for (int64_t prompt = 0; prompt < masks.prompts; ++prompt) map.mask_voxels.push_back(masks.count(prompt));

  std::vector<int64_t> order(size_t(masks.prompts));
  std::iota(order.begin(), order.end(), int64_t(0));
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const int64_t of_a = map.mask_voxels[size_t(a)], of_b = map.mask_voxels[size_t(b)];
    return of_a != of_b ? of_a < of_b : a < b;
  });

  const bool small = masks.prompts <= 255;
  map.labels = Tensor({masks.size[0], masks.size[1], masks.size[2]}, small ? DType::u8 : DType::i32);
  if (small) {
    map.label_voxels = paint(masks, order, map.labels.data<uint8_t>());
  } else {
    map.label_voxels = paint(masks, order, map.labels.data<int32_t>());
  }
  return map;
}

std::array<uint8_t, 3> label_colour(int64_t index) {
  static constexpr std::array<std::array<uint8_t, 3>, 12> kFirst{{{239, 83, 80},
                                                                  {66, 165, 245},
                                                                  {255, 202, 40},
                                                                  {102, 187, 106},
                                                                  {186, 104, 200},
                                                                  {255, 138, 40},
                                                                  {38, 198, 218},
                                                                  {240, 98, 180},
                                                                  {190, 214, 60},
                                                                  {121, 134, 240},
                                                                  {176, 137, 104},
                                                                  {128, 222, 196}}};
  if (index < int64_t(kFirst.size())) return kFirst[size_t(index)];
  const double hue = std::fmod(0.05 + 0.61803398875 * double(index), 1.0);
  return from_hsv(hue, index % 2 ? 0.55 : 0.75, index % 3 ? 0.95 : 0.8);
}

std::string itk_snap_legend(const std::vector<std::string>& names) {
  std::string text =
      "################################################\n"
      "# ITK-SnAP Label Description File\n"
      "# File format:\n"
      "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n"
      "# Priority: ";
  text += kLabelPriority;
  text +=
      "\n################################################\n"
      "    0     0    0    0        0  0  0    \"Clear Label\"\n";
  const auto column = [](int64_t value, size_t width) {
    const std::string digits = std::to_string(value);
    return std::string(digits.size() < width ? width - digits.size() : 0, ' ') + digits;
  };
  for (size_t i = 0; i < names.size(); ++i) {
    const std::array<uint8_t, 3> colour = label_colour(int64_t(i));
    text += column(int64_t(i) + 1, 5) + column(colour[0], 6) + column(colour[1], 5) + column(colour[2], 5);
    text += "        1  1  1    \"" + plain_name(names[i]) + "\"\n";
  }
  return text;
}

Json legend_json(const LabelMap& map, const std::vector<std::string>& names) {
  SAT_CHECK(names.size() == map.mask_voxels.size(), "legend_json: ", names.size(), " names for ",
            map.mask_voxels.size(), " labels");
  Json labels = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    const std::array<uint8_t, 3> colour = label_colour(int64_t(i));
    Json label = Json::object();
    label.set("value", int64_t(i) + 1).set("name", names[i]);
    label.set("colour", Json::array({int(colour[0]), int(colour[1]), int(colour[2])}));
    label.set("mask_voxels", map.mask_voxels[i]).set("label_voxels", map.label_voxels[i]);
    labels.push(std::move(label));
  }
  return Json::object().set("priority", kLabelPriority).set("labels", std::move(labels));
}

}  // namespace sat
