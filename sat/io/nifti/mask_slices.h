// Private. A mask in the order of a file, first axis fastest, one bit a voxel: some slices are turned at a time.
// Knows no format: nifti.h writes what it gives.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sat/io/masks/bit_blocks.h"
#include "sat/io/masks/bit_masks.h"

namespace sat {

/// Voxel (h, w, d) of a mask is number h + H * (w + W * d) here.
class MaskSlices {
 public:
  MaskSlices(const BitMasks& masks, int64_t prompt);

  int64_t voxels() const { return masks_.size[0] * masks_.size[1] * masks_.size[2]; }

  /// Turns the slices from voxel `first` on and returns up to where: the end, or a multiple of `unit` voxels further
  /// on. Memory: a bit a voxel of 64 slices, within the mask's bounding box, or of as many as hold two units.
  int64_t turn_from(int64_t first, int64_t unit);

  /// Calls take(bits, count) on the turned voxels [first, last) in order; bit i is the i-th of 1 to 64 voxels.
  template <class Take>
  void for_each_word(int64_t first, int64_t last, Take take) const {
    const int64_t H = masks_.size[0], W = masks_.size[1];
    for (int64_t voxel = first, end; voxel < last; voxel = end) {
      const int64_t h = voxel % H, w = voxel / H % W, d = voxel / H / W;
      if (d < start_ || d >= end_) {  // a slice without voxels
        end = std::min(last, (d + 1) * H * W);
      } else {
        end = std::min(last, voxel - h + H);
        if (w >= box_.start[1] && w < box_.end[1]) {
          const uint64_t* row = static_cast<const uint64_t*>(turned_.raw()) + row_at(d - start_, w - box_.start[1]);
          for (int64_t i = h, to = h + end - voxel; i < to;) {
            const int64_t count = std::min(64 - i % 64, to - i);
            take(row[i / 64] >> i % 64 & low_bits(count), count);
            i += count;
          }
          continue;
        }
      }
      for (int64_t i = voxel; i < end; i += 64) take(uint64_t(0), std::min<int64_t>(64, end - i));
    }
  }

 private:
  int64_t row_at(int64_t slice, int64_t row) const { return (slice * rows_ + row) * row_words_; }

  const BitMasks& masks_;
  int64_t prompt_;
  VoxelBox box_;
  int64_t rows_, row_words_;     // along W in the box, and words of 64 bits along H
  int64_t start_ = 0, end_ = 0;  // slices that are turned; all others that may be asked for have no voxels
  Tensor turned_;                // i64 [slices, rows, words]
};

}  // namespace sat
