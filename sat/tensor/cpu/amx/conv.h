// Private: the bf16 convolution engine of processors with matrix units (AMX). Strides 1 and 2, any channels, any grid.
// Operands are rounded to bf16, products summed in f32: 2e-3 of the result's deviation, the precision of mode `fast`.
#pragma once

#include "sat/tensor/cpu/conv/conv_slab.h"

namespace sat::cpu {

struct AmxPiece;  // amx/piece.h

/// The published weight [out, in, 3, 3, 3] f32, rounded to bf16 and laid out for the tiles; `in` counts both inputs'
/// channels. Bytes: about 54 * in * out, with `out` and (above 10) `in` rounded up to 32.
Tensor pack_amx_conv3d(const Tensor& weight);

/// Convolves a slab; `panels` from pack_amx_conv3d; `loops` are amx_piece, where the processor has tiles, or what
/// stands in for it in tests. Same bits for any thread count and any division into slabs. Throws Error if sizes do not
/// fit. Extra memory: about 1 MB a thread, and 16 bytes an output channel, plane and strip of rows.
void amx_conv3d(const ConvSlab& slab, const Tensor& panels, void (*loops)(const AmxPiece&));

}  // namespace sat::cpu
