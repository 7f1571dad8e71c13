// Writing 8-bit PNG pictures.
// Knows no palettes, no transparency, no reading, and no drawing.
#pragma once

#include <string>

#include "sat/tensor/tensor.h"

namespace sat {

/// Writes pixels u8 [rows, columns, 3] (RGB) or [rows, columns, 1] (gray), row 0 on top. At most 65535 a side and 1 GB.
/// The bytes depend on the pixels alone. The file appears complete or not at all.
void write_png(const std::string& path, const Tensor& pixels);

}  // namespace sat
