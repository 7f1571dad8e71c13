// Targets on coarser grids, and samples of one length.
#include "sat/nn/train/data/sample.h"

#include <algorithm>
#include <cstring>

#include "sat/tensor/parallel.h"

namespace sat {

namespace {

constexpr int64_t kGrain = 1 << 16;  // bytes a piece

void check_masks(const char* who, const Tensor& masks) {
  SAT_CHECK(masks.dtype == DType::u8 && masks.shape.rank() == 4 && masks.numel() > 0, who, ": masks are ", masks.dtype,
            " ", masks.shape, ", need u8 [H, W, D, bytes]");
}

/// Voxels, each copied from voxel (h, w, d) of `masks` as the maps say, with `bytes` bytes, of which those that are not
/// in `masks` are 0.
Tensor gathered(const Tensor& masks, const std::array<int64_t, 3>& size, int64_t bytes) {
  const int64_t W = masks.shape[1], D = masks.shape[2], before = masks.shape[3];
  Tensor result({size[0], size[1], size[2], bytes}, DType::u8);
  const uint8_t* from = masks.address<uint8_t>();
  uint8_t* to = result.address<uint8_t>();
  const auto kept = size_t(std::min(before, bytes)), added = size_t(bytes) - kept;
  parallel_for(size[0] * size[1], std::max<int64_t>(1, kGrain / (size[2] * bytes)), [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t h = line / size[1] * masks.shape[0] / size[0], w = line % size[1] * W / size[1];
      const uint8_t* row = from + (h * W + w) * D * before;
      uint8_t* out = to + line * size[2] * bytes;
      for (int64_t d = 0; d < size[2]; ++d, out += bytes) {
        std::memcpy(out, row + d * D / size[2] * before, kept);
        std::memset(out + kept, 0, added);
      }
    }
  });
  return result;
}

}  // namespace

Tensor resized_masks(const Tensor& masks, const std::array<int64_t, 3>& size) {
  check_masks("resized_masks", masks);
  for (int64_t along : size) SAT_CHECK(along >= 1, "resized_masks: a size is ", along, ", needs at least 1");
  return gathered(masks, size, masks.shape[3]);
}

void fill_queries(TrainingSample& sample, int64_t count) {
  const auto before = int64_t(sample.structures.size());
  SAT_CHECK(count >= before, "fill_queries: the sample asks for ", before, " structures, more than ", count);
  sample.structures.resize(size_t(count), kFillerName);
  sample.kinds.resize(size_t(count), QueryKind::filler);
  sample.weights.resize(size_t(count), 0);
  const Tensor& masks = sample.masks;
  check_masks("fill_queries", masks);
  const int64_t bytes = divide_up(count, 8);
  if (bytes > masks.shape[3]) {
    sample.masks = gathered(masks, {masks.shape[0], masks.shape[1], masks.shape[2]}, bytes);
  }
}

}  // namespace sat
