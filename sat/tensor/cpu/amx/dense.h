// Private: dense layers on processors with matrix units (AMX). Inputs and weights are rounded to bf16, products summed
// in f32: 3e-3 of the result's deviation, the precision of mode `fast`.
#pragma once

#include "sat/tensor/cpu/dense/dense.h"

namespace sat::cpu {

struct AmxLoops;  // amx/matrix_piece.h

/// Whether a layer's usual number of rows pays; 0 where it is not known.
bool amx_linear_pays(int64_t rows);

/// The published weight [out, in] f32, rounded to bf16 and laid out for the tiles, both sizes filled up to 32 with
/// zeros: [blocks of 32 outputs][steps of 32 inputs][2 x 16 outputs][16 pairs of inputs][16 outputs x 2].
Tensor pack_amx_linear(const Tensor& weight);

/// The layer with `panels` from pack_amx_linear() in place of its own. A row's bits depend on that row alone. Extra
/// memory: about 1 MB a thread.
void amx_linear(const Dense& layer, const Tensor& panels, const AmxLoops& loops);

}  // namespace sat::cpu
