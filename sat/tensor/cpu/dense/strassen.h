// Private: dense layers of many rows by Strassen's algorithm, two levels deep: 49 products of quarters in place of 64.
#pragma once

#include "sat/tensor/cpu/dense/dense.h"
#include "sat/tensor/cpu/vector/simd.h"

namespace sat::cpu {

/// Whether a layer's sizes divide as it needs, and its usual number of rows pays.
bool strassen_fits(int64_t in, int64_t out, int64_t rows);

/// weight [out, in] -> the combinations of its blocks that the 49 products read, 49 / 16 of its size:
/// [chunks of in][49][out / 64][in of a chunk / 4][16].
Tensor strassen_panels(const Tensor& weight);

/// y = finish(x * weight). Rows are `matrices` runs of equal length, and those of one run are combined with each other:
/// the bits of a result depend on its run alone.
void run_strassen(const Simd& simd, const Dense& layer, int64_t matrices);

}  // namespace sat::cpu
