// Private: where the result of a convolution goes when it is written over its input, a few planes aside.
// A volume is made with a margin of planes before it; the next result lies in front of its input by that margin, the
// one after it behind again, and slabs are computed in the order in which nothing is overwritten that is still to be
// read.
#pragma once

#include <cstdint>

#include "sat/tensor/memory/memory.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Memory for a result [B, H, W, D, C]. A volume of many planes gets room for the next one to be written over it.
inline Tensor room_for(const Shape& shape, DType dtype, Device device, int64_t margin) {
  if (shape[0] != 1 || shape[1] < 4 * margin) return Tensor(shape, dtype, device);
  return Tensor({shape[1] + margin, shape[2], shape[3], shape[4]}, dtype, device)
      .slice(margin, shape[1] + margin)
      .reshape(shape);
}

/// Where a result of x's size goes when it is written over x: `margin` planes before it, or behind it. Empty where
/// somebody else reads x or there is no room.
inline Tensor place_over(const Tensor& x, const Shape& shape, DType dtype, int64_t margin) {
  if (x.shape != shape || x.dtype != dtype || x.shape[0] != 1 || x.buffer.use_count() != 1 || x.buffer->foreign()) {
    return {};
  }
  const int64_t elements = margin * shape[2] * shape[3] * shape[4];
  Tensor y = x;
  if (x.offset >= elements) {
    y.offset -= elements;
  } else if (x.buffer->bytes() / size_of(dtype) - x.offset - x.numel() >= elements) {
    y.offset += elements;
  } else {
    return {};
  }
  return y;
}

}  // namespace sat
