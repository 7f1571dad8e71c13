// Blocks of 64 x 64 voxels are turned in registers and the first level of cache.
#include "sat/io/nifti/mask_slices.h"

#include <array>
#include <cstring>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kSide = 64;  // of a block

}  // namespace

MaskSlices::MaskSlices(const BitMasks& masks, int64_t prompt)
    : masks_(masks),
      prompt_(prompt),
      box_(masks.bounding_box(prompt)),
      rows_(box_.end[1] - box_.start[1]),
      row_words_(divide_up(masks.size[0], kSide)) {}

int64_t MaskSlices::turn_from(int64_t first, int64_t unit) {
  const int64_t H = masks_.size[0], slice = H * masks_.size[1];
  const int64_t at_once = divide_up(unit / slice + 2, kSide) * kSide;
  start_ = std::max(first / slice, box_.start[2]);
  end_ = std::min(start_ + at_once, box_.end[2]);
  if (start_ >= end_) return voxels();
  const int64_t slices = end_ - start_, last = end_ == box_.end[2] ? voxels() : end_ * slice;
  if (turned_.empty())
    turned_ = Tensor({std::min(at_once, box_.end[2] - box_.start[2]), rows_, row_words_}, DType::i64);
  auto* turned = static_cast<uint64_t*>(turned_.raw());
  const int64_t plane_words = masks_.plane_bytes / 8;
  parallel_for(rows_, kSide, [&](int64_t first_row, int64_t last_row) {
    std::array<uint64_t, kSide> block;
    for (int64_t word = 0; word < row_words_; ++word) {
      const int64_t planes = std::min(kSide, H - word * kSide);
      for (int64_t row = first_row; row < last_row; ++row) {
        for (int64_t from = 0; from < slices; from += kSide) {
          const int64_t count = std::min(kSide, slices - from);
          const int64_t bit = (box_.start[1] + row) * masks_.size[2] + start_ + from;
          uint64_t any = 0;
          block.fill(0);
          for (int64_t i = 0; i < planes; ++i) {
            const uint8_t* plane = masks_.plane(prompt_, word * kSide + i);
            any |= block[size_t(i)] = bits_from(plane, plane_words, bit) & low_bits(count);
          }
          if (any != 0) transpose_bits(block.data());
          for (int64_t i = 0; i < count; ++i) turned[row_at(from + i, row) + word] = block[size_t(i)];
        }
      }
    }
  });
  return last == voxels() ? last : first + (last - first) / unit * unit;
}

}  // namespace sat
