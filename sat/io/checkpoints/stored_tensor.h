// Private. How a tensor's bytes in a file become a Tensor: bounds, alignment, strides and conversion to f32.
// Knows no file format; safetensors.cpp and torch_file.cpp do.
#pragma once

#include <cstdint>
#include <vector>

#include "sat/io/files/open_file.h"
#include "sat/tensor/tensor.h"

namespace sat {

/// Element types that a checkpoint may hold: those of DType, and f64, which is read as f32.
enum class StoredType : uint8_t { f32, bf16, f16, f64, i32, i64, u8, boolean };

int64_t size_of(StoredType type);  // bytes of one element
DType dtype_of(StoredType type);   // as DType has it; f32 for f64

/// A tensor's place in a file: element i of axis a lies strides[a] elements after element i - 1.
struct StoredTensor {
  StoredType type = StoredType::f32;
  Shape shape{0};
  std::vector<int64_t> strides;  // in elements, one an axis, not negative; none: row-major without gaps
  int64_t offset = 0;            // in bytes, of the first element
};

/// Strides of a row-major tensor without gaps.
std::vector<int64_t> contiguous_strides(const Shape& shape);

/// The number of elements that the tensor spans from its first to its last, 0 if it has none. Throws Error for strides
/// that are negative or overflow.
int64_t span_of(const Shape& shape, const std::vector<int64_t>& strides);

/// Reads the tensor into bytes of its own: floats as f32, the rest as they are. Little-endian, as all formats are. A
/// tensor whose elements do not lie one after another costs, while it is read, the bytes that it spans as well.
/// The caller has checked the type; the place is checked here again, for it costs nothing.
Tensor read_stored(const OpenFile& file, const StoredTensor& stored);

}  // namespace sat
