// Where results lie over their inputs.
#include "sat/tensor/ops/slab_walk.h"

#include "sat/tensor/memory/memory.h"

namespace sat {

namespace {

/// Where a result of x's size goes when it is written over x: `margin` planes before it, or behind it. Empty where
/// somebody else reads x or there is no room.
Tensor place_over(const Tensor& x, const Shape& shape, DType dtype, int64_t margin) {
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

}  // namespace

Tensor room_for_next(const Shape& shape, DType dtype, Device device, int64_t slab) {
  const int64_t margin = slab + 1;
  if (shape[0] != 1 || shape[1] < 4 * margin) return Tensor(shape, dtype, device);
  return Tensor({shape[1] + margin, shape[2], shape[3], shape[4]}, dtype, device)
      .slice(margin, shape[1] + margin)
      .reshape(shape);
}

Shape conv_output_shape(const Shape& in, int64_t out, int64_t stride) {
  return {in[0], (in[1] - 1) / stride + 1, (in[2] - 1) / stride + 1, (in[3] - 1) / stride + 1, out};
}

SlabWalk::SlabWalk(const Tensor& x, const Shape& shape, DType store, int64_t slab, bool cut)
    : result_(place_over(x, shape, store, slab + 1)), slab_(slab) {
  if (result_.empty()) {
    result_ = room_for_next(shape, store, x.device, slab);
    if (!cut) slab_ = shape[1];
  } else {
    upwards_ = result_.offset > x.offset;
  }
}

}  // namespace sat
