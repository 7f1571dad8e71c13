// Counting, boxing and unpacking of bit masks. Planes are read as 64-bit words; their order in a word does not matter.
#include "sat/io/masks/bit_masks.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "sat/io/masks/bit_blocks.h"
#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kMostPieces = 64;  // each counts for itself

int64_t bytes_of_plane(const std::array<int64_t, 3>& size) { return divide_up(size[1] * size[2], 64) * 8; }

void check_prompt(const char* caller, const BitMasks& masks, int64_t prompt) {
  SAT_CHECK(prompt >= 0 && prompt < masks.prompts, caller, ": prompt is ", prompt, ", there are ", masks.prompts);
}

bool all_clear(const uint8_t* bytes, int64_t count) {
  return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size_t(count - 1)) == 0;
}

/// How often each bit of a row of words was set. Counters of 64 bits are kept side by side, each level of a word one
/// binary digit of them all.
class ColumnCounts {
 public:
  explicit ColumnCounts(int64_t columns) : digits_(size_t(divide_up(columns, 64))) {}

  void add(int64_t word, uint64_t bits) {
    Digits& digits = digits_[size_t(word)];
    for (size_t level = 0; bits != 0; ++level) {
      const uint64_t carried = digits[level] & bits;
      digits[level] ^= bits;
      bits = carried;
    }
  }

  void take(std::vector<int64_t>& counts) const {
    for (size_t column = 0; column < counts.size(); ++column) {
      const Digits& digits = digits_[column / 64];
      for (size_t level = 0; level < digits.size(); ++level) {
        counts[column] += int64_t(digits[level] >> column % 64 & 1) << level;
      }
    }
  }

 private:
  using Digits = std::array<uint64_t, 48>;
  std::vector<Digits> digits_;
};

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

int64_t MaskProfile::count() const { return std::accumulate(voxels[0].begin(), voxels[0].end(), int64_t(0)); }

VoxelBox MaskProfile::box() const {
  VoxelBox box;
  for (size_t axis = 0; axis < 3; ++axis) {
    const auto any = [](int64_t count) { return count > 0; };
    const auto& planes = voxels[axis];
    box.end[axis] = std::find_if(planes.rbegin(), planes.rend(), any).base() - planes.begin();
    if (box.end[axis] > 0) box.start[axis] = std::find_if(planes.begin(), planes.end(), any) - planes.begin();
  }
  return box;
}

MaskProfile BitMasks::profile(int64_t prompt) const {
  check_prompt("BitMasks::profile", *this, prompt);
  const auto [H, W, D] = size;
  const int64_t grain = divide_up(H, kMostPieces), plane_words = plane_bytes / 8;
  std::vector<MaskProfile> pieces(size_t(divide_up(H, grain)));
  MaskProfile all;
  all.voxels[0].resize(size_t(H));
  parallel_for(H, grain, [&, W = W, D = D](int64_t first, int64_t last) {
    MaskProfile& mine = pieces[size_t(first / grain)];
    mine.voxels[1].resize(size_t(W));
    mine.voxels[2].resize(size_t(D));
    ColumnCounts columns(D);
    for (int64_t h = first; h < last; ++h) {
      const uint8_t* bytes = plane(prompt, h);
      if (all_clear(bytes, plane_bytes)) continue;
      for (int64_t w = 0; w < W; ++w) {
        int64_t of_line = 0;
        for (int64_t d = 0; d < D; d += 64) {
          const uint64_t set = bits_from(bytes, plane_words, w * D + d) & low_bits(std::min<int64_t>(64, D - d));
          if (set == 0) continue;
          of_line += count_bits(set);
          columns.add(d / 64, set);
        }
        mine.voxels[1][size_t(w)] += of_line;
        all.voxels[0][size_t(h)] += of_line;
      }
    }
    columns.take(mine.voxels[2]);
  });
  for (size_t axis : {size_t(1), size_t(2)}) {
    std::vector<int64_t>& sum = all.voxels[axis];
    sum.resize(size_t(size[axis]));
    for (const MaskProfile& piece : pieces) {
      std::transform(sum.begin(), sum.end(), piece.voxels[axis].begin(), sum.begin(), std::plus<>());
    }
  }
  return all;
}

int64_t BitMasks::count(int64_t prompt) const {
  check_prompt("BitMasks::count", *this, prompt);
  std::vector<int64_t> counts(static_cast<size_t>(size[0]));
  parallel_for(size[0], 1, [&](int64_t h, int64_t) {
    for (int64_t word = 0; word < plane_bytes / 8; ++word) {
      counts[size_t(h)] += count_bits(bits_from(plane(prompt, h), plane_bytes / 8, word * 64));
    }
  });
  return std::accumulate(counts.begin(), counts.end(), int64_t(0));
}

VoxelBox BitMasks::bounding_box(int64_t prompt) const {
  check_prompt("BitMasks::bounding_box", *this, prompt);
  const auto [H, W, D] = size;
  const int64_t plane_words = plane_bytes / 8;
  std::vector<VoxelBox> boxes(static_cast<size_t>(H));  // of each plane
  parallel_for(H, 1, [&, W = W, D = D](int64_t h, int64_t) {
    const uint8_t* bytes = plane(prompt, h);
    if (all_clear(bytes, plane_bytes)) return;
    VoxelBox box{{h, W, D}, {h + 1, 0, 0}};
    for (int64_t d = 0; d < D; d += 64) {
      const uint64_t kept = low_bits(std::min<int64_t>(64, D - d));
      uint64_t any = 0;
      for (int64_t w = 0; w < W; ++w) {
        const uint64_t of_line = bits_from(bytes, plane_words, w * D + d) & kept;
        any |= of_line;
        if (of_line == 0) continue;
        box.start[1] = std::min(box.start[1], w);
        box.end[1] = std::max(box.end[1], w + 1);
      }
      if (any == 0) continue;
      box.start[2] = std::min(box.start[2], d + std::countr_zero(any));
      box.end[2] = d + 64 - std::countl_zero(any);
    }
    boxes[size_t(h)] = box;
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
