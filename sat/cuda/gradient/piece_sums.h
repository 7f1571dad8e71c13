// Private: sums that were taken in pieces, and are added up in an order that depends on their number alone.
#pragma once

#include <cstdint>

#include "sat/cuda/device/stream.h"
#include "sat/tensor/tensor.h"

namespace sat::cuda {

/// Room for numbers of eight bytes on a device, for sums in double.
inline Tensor doubles(const Shape& shape, Device device) { return Tensor(shape, DType::i64, device); }

/// Part i of column c of row r lies at i * pitch + r * columns + c of the parts, its sum at r * to_pitch + c.
struct PieceSums {
  int64_t pieces, columns;
  int64_t pitch;  // from a piece's parts to the next one's
  int64_t rows = 1, to_pitch = 0;
};

/// Sums over pieces, in double; zeros where there are none.
void add_pieces(const Stream& stream, float* to, const float* parts, const PieceSums& sums);
void add_pieces(const Stream& stream, float* to, const double* parts, const PieceSums& sums);
void add_pieces(const Stream& stream, double* to, const double* parts, const PieceSums& sums);

}  // namespace sat::cuda
