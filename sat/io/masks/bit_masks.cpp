// Counting, boxing and unpacking of bit masks. Planes are read as 64-bit words; their order in a word does not matter.
#include "sat/io/masks/bit_masks.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

int64_t bytes_of_plane(const std::array<int64_t, 3>& size) { return divide_up(size[1] * size[2], 64) * 8; }

void check_prompt(const char* caller, const BitMasks& masks, int64_t prompt) {
  SAT_CHECK(prompt >= 0 && prompt < masks.prompts, caller, ": prompt is ", prompt, ", there are ", masks.prompts);
}

}  // namespace

VoxelBox union_of(const VoxelBox& a, const VoxelBox& b) {
  if (a.empty() || b.empty()) return a.empty() ? b : a;
  VoxelBox all = a;
  for (size_t axis = 0; axis < 3; ++axis) {
    all.start[axis] = std::min(a.start[axis], b.start[axis]);
    all.end[axis] = std::max(a.end[axis], b.end[axis]);
  }
  return all;
}

int64_t BitMasks::bytes_needed(const std::array<int64_t, 3>& size, int64_t prompts) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 64;
  const bool positive = size[0] > 0 && size[1] > 0 && size[2] > 0 && prompts > 0;
  SAT_CHECK(positive && size[1] <= kMost / size[2] && size[0] <= kMost / (size[1] * size[2]) &&
                prompts <= kMost / (size[0] * size[1] * size[2]),
            "BitMasks: ", prompts, " prompts of ", size[0], " x ", size[1], " x ", size[2],
            " voxels; needs positive sizes whose product fits 64 bits");
  return prompts * size[0] * bytes_of_plane(size);
}

BitMasks::BitMasks(const std::array<int64_t, 3>& grid, int64_t count_of_prompts)
    : size(grid), prompts(count_of_prompts) {
  bytes_needed(grid, count_of_prompts);  // refuses sizes that do not fit
  plane_bytes = bytes_of_plane(grid);
  bits = zeros({prompts, size[0], plane_bytes}, DType::u8);
}

int64_t BitMasks::count(int64_t prompt) const {
  check_prompt("BitMasks::count", *this, prompt);
  const size_t planes = size_t(size[0]);
  std::vector<int64_t> counts(planes);
  parallel_for(size[0], 1, [&](int64_t first, int64_t last) {
    for (int64_t h = first; h < last; ++h) {
      for (int64_t at = 0; at < plane_bytes; at += 8) {
        uint64_t word;
        std::memcpy(&word, plane(prompt, h) + at, 8);
        counts[size_t(h)] += std::popcount(word);
      }
    }
  });
  int64_t total = 0;
  for (int64_t of_plane : counts) total += of_plane;
  return total;
}

VoxelBox BitMasks::bounding_box(int64_t prompt) const {
  check_prompt("BitMasks::bounding_box", *this, prompt);
  const size_t planes = size_t(size[0]);
  std::vector<VoxelBox> boxes(planes);  // of each plane, axes 1 and 2
  parallel_for(size[0], 1, [&](int64_t first, int64_t last) {
    for (int64_t h = first; h < last; ++h) {
      VoxelBox box{{h, size[1], size[2]}, {h + 1, 0, 0}};
      for_each_set(prompt, h, [&](int64_t w, int64_t d) {
        box.start[1] = std::min(box.start[1], w), box.end[1] = w + 1;
        box.start[2] = std::min(box.start[2], d), box.end[2] = std::max(box.end[2], d + 1);
      });
      if (box.end[1] > 0) boxes[size_t(h)] = box;
    }
  });
  VoxelBox all;
  for (const VoxelBox& box : boxes) all = union_of(all, box);
  return all;
}

Tensor BitMasks::unpack(int64_t prompt) const {
  check_prompt("BitMasks::unpack", *this, prompt);
  Tensor voxels({size[0], size[1], size[2]}, DType::u8);
  uint8_t* out = voxels.data<uint8_t>();
  const int64_t plane_voxels = size[1] * size[2];
  parallel_for(size[0], 1, [&](int64_t first, int64_t last) {
    for (int64_t h = first; h < last; ++h) {
      const uint8_t* from = plane(prompt, h);
      for (int64_t v = 0; v < plane_voxels; ++v) out[h * plane_voxels + v] = from[v >> 3] >> (v & 7) & 1;
    }
  });
  return voxels;
}

}  // namespace sat
