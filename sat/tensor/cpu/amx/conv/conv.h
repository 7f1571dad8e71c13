// Private: the bf16 convolution engine of processors with matrix units (AMX). Strides 1 and 2, any channels, any grid.
// Operands are rounded to bf16, products summed in f32: 2e-3 of the result's deviation, the precision of mode `fast`.
#pragma once

#include "sat/tensor/cpu/conv/conv_slab.h"

namespace sat::cpu {

struct AmxConvLoops;  // amx/conv/piece.h

constexpr int64_t kAmxWholeBytes = 8 << 20;

/// The published weight [out, in, 3, 3, 3] f32, rounded to bf16 and laid out for the tiles of a convolution of this
/// stride; `in` counts both inputs' channels. Bytes: about 54 * in * out, with `out` rounded up to 16 (stride 2: 32)
/// and, above 10, `in` to 32.
Tensor pack_amx_conv3d(const Tensor& weight, int64_t stride);

/// Convolves a slab; `panels` from pack_amx_conv3d; `loops` are the processor's, where it has tiles, or what stands in
/// for them in tests. Same bits for any thread count and any division into slabs. Throws Error if sizes do not fit.
/// Volumes of up to `whole_bytes`, once normalised, are kept so as long as it takes. Extra memory: that, and the
/// results of 32 outputs a thread; of larger volumes up to 2 MB a thread; and 16 bytes an output channel, plane and
/// strip.
void amx_conv3d(const ConvSlab& slab, const Tensor& panels, const AmxConvLoops& loops,
                int64_t whole_bytes = kAmxWholeBytes);

/// Whether an input of so many voxels and channels is. The weights, which weigh more there, are then read once a call:
/// one slab of all planes is best.
bool amx_keeps_whole(const std::array<int64_t, 3>& in_size, int64_t in, int64_t whole_bytes = kAmxWholeBytes);

}  // namespace sat::cpu
