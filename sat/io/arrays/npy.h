// Private. NumPy's .npy format: a header that is a Python dict, and the elements of one array.
// Knows bytes only; what an array means is the caller's.
#pragma once

#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

/// Do these first bytes of a file say that it is one?
bool is_npy(const std::string& first_bytes);

/// Reads an array of at most six axes, in C or Fortran order, versions 1 to 3 of the format. Little-endian f4, f2 and
/// f8 arrive as f32; i4, i8, u1 and b1 as they are. Throws Error for every other type, a header that is not the three
/// keys of the format, and a file that is not as long as the array.
Tensor read_npy(const std::string& path);

/// The bytes before the elements, which follow row by row: version 1, data at a multiple of 64. For f32, f16, i32, i64,
/// u8 and bool.
std::string npy_head(const Shape& shape, DType dtype);

/// Writes a CPU tensor. The file appears complete or not at all.
void write_npy(const std::string& path, const Tensor& tensor);

}  // namespace sat
