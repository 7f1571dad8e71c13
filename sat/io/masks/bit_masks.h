// Binary masks of many prompts over one grid, one bit a voxel a prompt, so that hundreds of prompts fit in memory.
// Knows nothing of where the grid lies (volume.h) or of how masks come about (restore.h).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// A half-open box of voxels that holds every set voxel; empty (start == end == 0) when none is set.
struct VoxelBox {
  std::array<int64_t, 3> start{}, end{};
  bool empty() const { return end[0] == 0; }
};
VoxelBox union_of(const VoxelBox& a, const VoxelBox& b);  // the smallest box that holds both

/// How many voxels are set in each plane across each axis.
struct MaskProfile {
  std::array<std::vector<int64_t>, 3> voxels;
  int64_t count() const;
  VoxelBox box() const;  // of the set voxels
};

/// Masks of `prompts` prompts on a grid of H x W x D voxels. Voxel (h, w, d) of a prompt is bit (w * D + d) of its
/// plane h: byte (w * D + d) / 8, lowest bit first. Planes start at multiples of 8 bytes, so threads that own whole
/// planes never share a word.
struct BitMasks {
  std::array<int64_t, 3> size{};  // H, W, D
  int64_t prompts = 0;
  int64_t plane_bytes = 0;  // a multiple of 8
  Tensor bits;              // u8 [prompts, H, plane_bytes]; unused bits are 0

  BitMasks() = default;
  /// All voxels clear. Throws Error when a size is not positive or the total overflows.
  BitMasks(const std::array<int64_t, 3>& size, int64_t prompts);
  /// What such masks take, for planning.
  static int64_t bytes_needed(const std::array<int64_t, 3>& size, int64_t prompts);

  bool get(int64_t prompt, int64_t h, int64_t w, int64_t d) const {
    const int64_t bit = w * size[2] + d;
    return plane(prompt, h)[bit >> 3] >> (bit & 7) & 1;
  }
  void set(int64_t prompt, int64_t h, int64_t w, int64_t d) {
    const int64_t bit = w * size[2] + d;
    uint8_t& byte = plane(prompt, h)[bit >> 3];
    byte = uint8_t(byte | 1u << (bit & 7));
  }
  const uint8_t* plane(int64_t prompt, int64_t h) const {
    return static_cast<const uint8_t*>(bits.raw()) + (prompt * size[0] + h) * plane_bytes;
  }
  uint8_t* plane(int64_t prompt, int64_t h) {
    return static_cast<uint8_t*>(bits.raw()) + (prompt * size[0] + h) * plane_bytes;
  }

  /// Calls body(w, d) for every set voxel of a prompt's plane h, ascending; 64 clear ones are passed at once.
  template <class Body>
  void for_each_set(int64_t prompt, int64_t h, Body body) const {
    const uint8_t* bytes = plane(prompt, h);
    int64_t w = 0, row_end = size[2];
    for (int64_t at = 0; at < plane_bytes; at += 8) {
      uint64_t word;
      std::memcpy(&word, bytes + at, 8);
      for (; word != 0; word &= word - 1) {
        const int64_t bit = at * 8 + __builtin_ctzll(word);
        while (bit >= row_end) ++w, row_end += size[2];
        body(w, bit - row_end + size[2]);
      }
    }
  }

  MaskProfile profile(int64_t prompt) const;
  int64_t count(int64_t prompt) const;          // set voxels
  VoxelBox bounding_box(int64_t prompt) const;  // of the set voxels
  Tensor unpack(int64_t prompt) const;          // u8 [H, W, D], 0 or 1
};

}  // namespace sat
