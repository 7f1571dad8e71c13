// Private. How a cached case lies in its file; case_writer.h writes it, cached_case.h reads it.
//
//   8 bytes   "SATCASE1"
//   ...       voxels f16 [H, W, D]: blocks of kRows rows of a plane, each followed by its CRC-32
//   ...       masks one after the other, the foreground's last, each as the bytes of its BitMasks on its box; nothing
//             for an empty one
//   ...       the table: JSON with key, size, structures (name, voxels, box, crc), foreground, unlabelled, warnings
//   8         bytes of the table, little-endian
//   4         CRC-32 of the table
//   8         "SATCASE1"
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sat/io/masks/bit_masks.h"

namespace sat::cached {

inline constexpr char kMagic[] = "SATCASE1";
inline constexpr int64_t kHead = 8;   // bytes before the voxels
inline constexpr int64_t kTail = 20;  // bytes after the table
inline constexpr int64_t kRows = 32;  // of a block of voxels
inline constexpr int64_t kVoxel = 2;  // bytes
inline constexpr int64_t kCrc = 4;    // bytes
inline constexpr int64_t kLargestTable = int64_t(16) << 20;
inline constexpr int64_t kLongestAxis = 65536;
inline constexpr int64_t kMostVoxels = int64_t(1) << 31;

inline int64_t blocks_of_plane(const std::array<int64_t, 3>& size) { return (size[1] + kRows - 1) / kRows; }
inline int64_t bytes_of_plane(const std::array<int64_t, 3>& size) {
  return size[1] * size[2] * kVoxel + blocks_of_plane(size) * kCrc;
}
/// Where the block that begins with row `w`, a multiple of kRows, lies in its plane.
inline int64_t place_of_block(const std::array<int64_t, 3>& size, int64_t w) {
  return w * size[2] * kVoxel + w / kRows * kCrc;
}
inline int64_t rows_of_block(const std::array<int64_t, 3>& size, int64_t w) { return std::min(kRows, size[1] - w); }

inline std::array<int64_t, 3> size_of(const VoxelBox& box) {
  return {box.end[0] - box.start[0], box.end[1] - box.start[1], box.end[2] - box.start[2]};
}
inline int64_t bytes_of_mask(const VoxelBox& box) { return box.empty() ? 0 : BitMasks::bytes_needed(size_of(box), 1); }

}  // namespace sat::cached
