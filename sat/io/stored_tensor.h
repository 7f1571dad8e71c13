// How a tensor's bytes in a mapped file become a Tensor: bounds, alignment, strides and conversion to f32.
// Knows no file format; safetensors.cpp and torch_file.cpp do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sat/tensor/tensor.h"

namespace sat {

/// Element types that a checkpoint may hold: those of DType, and f64, which is read as f32.
enum class StoredType : uint8_t { f32, bf16, f16, f64, i32, i64, u8, boolean };

int64_t size_of(StoredType type);  // bytes of one element
DType dtype_of(StoredType type);   // as DType has it; f32 for f64

/// A checkpoint file, mapped for as long as a tensor refers to it. Little-endian, as both formats are.
struct MappedBytes {
  std::shared_ptr<Buffer> buffer;  // the whole file, read-only
  std::string path;

  const uint8_t* data() const;
  int64_t size() const;
};
MappedBytes map_bytes(const std::string& path);

/// A tensor's place in a file: element i of axis a lies strides[a] elements after element i - 1.
struct StoredTensor {
  StoredType type = StoredType::f32;
  Shape shape{0};
  std::vector<int64_t> strides;  // in elements, one an axis, not negative
  int64_t offset = 0;            // in bytes, of the first element
};

/// Strides of a row-major tensor without gaps.
std::vector<int64_t> contiguous_strides(const Shape& shape);

/// The number of elements that the tensor spans from its first to its last, 0 if it has none. Throws Error for strides
/// that are negative or overflow.
int64_t span_of(const Shape& shape, const std::vector<int64_t>& strides);

/// Reads the tensor: floats as f32, the rest as they are. A contiguous, aligned f32 tensor is a view of the file.
/// The caller has checked the type; the place is checked here again, for it costs nothing.
Tensor read_stored(const MappedBytes& file, const StoredTensor& stored);

}  // namespace sat
