// Masks of a crop, structure by structure, from the boxes in which they lie.
#include "sat/nn/train/data/crop_masks.h"

#include <algorithm>

#include "sat/tensor/parallel.h"

namespace sat {

bool touches_crop(const VoxelBox& box, const std::array<int64_t, 3>& start, const std::array<int64_t, 3>& crop) {
  for (size_t axis = 0; axis < 3; ++axis) {
    if (box.end[axis] <= start[axis] || box.start[axis] >= start[axis] + crop[axis]) return false;
  }
  return true;
}

CropMasks::CropMasks(const std::array<int64_t, 3>& start, const std::array<int64_t, 3>& crop, int64_t most)
    : start_(start),
      crop_(crop),
      bytes_(divide_up(most, 8)),
      masks_(zeros({crop[0], crop[1], crop[2], bytes_}, DType::u8)) {}

bool CropMasks::add(const CachedCase& cached, int64_t structure, int64_t n) {
  const CachedStructure& about = cached.structures()[size_t(structure)];
  if (about.voxels == 0 || !touches_crop(about.box, start_, crop_)) return false;
  const BitMasks mask = cached.mask(structure);
  uint8_t* to = masks_.data<uint8_t>() + n / 8;
  const auto bit = uint8_t(1u << (n % 8));
  bool any = false;
  const int64_t h0 = about.box.start[0] - start_[0], w0 = about.box.start[1] - start_[1],
                d0 = about.box.start[2] - start_[2];
  for (int64_t h = std::max<int64_t>(0, -h0); h < std::min(mask.size[0], crop_[0] - h0); ++h) {
    uint8_t* plane = to + (h + h0) * crop_[1] * crop_[2] * bytes_;
    mask.for_each_set(0, h, [&](int64_t w, int64_t d) {
      w += w0;
      d += d0;
      if (w < 0 || w >= crop_[1] || d < 0 || d >= crop_[2]) return;
      uint8_t& byte = plane[(w * crop_[2] + d) * bytes_];
      byte = uint8_t(byte | bit);
      any = true;
    });
  }
  return any;
}

Tensor CropMasks::finish(int64_t count) const {
  const int64_t kept = divide_up(count, 8);
  if (kept == bytes_) return masks_;
  Tensor cut({crop_[0], crop_[1], crop_[2], kept}, DType::u8);
  const uint8_t* from = masks_.data<uint8_t>();
  uint8_t* to = cut.data<uint8_t>();
  for (int64_t v = 0; v < crop_[0] * crop_[1] * crop_[2]; ++v) std::copy_n(from + v * bytes_, kept, to + v * kept);
  return cut;
}

}  // namespace sat
