// Reading the pictures that the library writes, by a decoder that shares nothing with it.
#pragma once

#include <string>

#include "sat/tensor/tensor.h"

namespace sat::test {

/// Pixels u8 [rows, columns, 3 or 1] of a PNG's bytes, as the standard says, every length and checksum looked at.
/// Throws Error for anything else.
Tensor decode_png(const std::string& bytes);

}  // namespace sat::test
