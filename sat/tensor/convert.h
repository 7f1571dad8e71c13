// Private. Rows of numbers from one float type to another, by the instructions of the context's CPU level. Every level
// gives the bits that to_float(), to_f16() and to_bf16() give one by one.
#pragma once

#include <cstdint>

#include "sat/tensor/tensor.h"

namespace sat {

void convert_row(float* y, const f16* x, int64_t count);
void convert_row(float* y, const bf16* x, int64_t count);
void convert_row(f16* y, const float* x, int64_t count);
void convert_row(bf16* y, const float* x, int64_t count);

}  // namespace sat
